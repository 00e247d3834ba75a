import type { RedisConnection } from '../../redis'
import { channelOf, wakeKeyOf } from './wire'

/**
 * Listens for what there is to do in one queue. Who puts something there leaves a token in a list; whoever takes it claims, and leaves
 * a token when something remains: so one process wakes for one task, and all for many. A process takes tokens only while it is
 * hungry, and gives back what came too late.
 *
 * What all must hear is said on a channel: which task was cancelled, and that another is due earlier than any before.
 */
export interface Watch {
  /** A claim was sent, and came back. @param isFull it got all that it asked for, so this process may have enough */
  claiming(): void
  claimed(isFull: boolean): void
  /** Attempts have ended and nothing was claimed in their place: this process has room again. */
  freed(): void
  close(): Promise<void>
}

interface Listener {
  wake(): void
  cancelled(id: string): void
}

/** How long one look blocks: shorter than the silence after which a connection is given up. */
const blockSeconds = 4
const blockLimitMs = 4800
const limitMs = 1000
const pauseMs = 100

interface WatchOptions {
  /** Of this watch alone, since it blocks. */
  connection: RedisConnection
  prefix: string
  queue: string
  listener: Listener
  /** Puts a token back, by another connection. */
  giveBack(): void
}

export function createWatch({ connection, prefix, queue, listener, giveBack }: WatchOptions): Watch {
  const key = wakeKeyOf(prefix, queue)
  let isClosed = false
  let isFull = false
  let claims = 0
  /** What came while a claim was under way: what becomes of a token the claim decides. */
  let holdsToken = false
  let holdsWord = false
  let change = Promise.withResolvers<void>()

  const changed = () => {
    change.resolve()
    change = Promise.withResolvers()
  }
  function take() {
    if (claims > 0) holdsToken = true
    else if (isFull) giveBack()
    else listener.wake()
  }

  function hear(id: string) {
    if (id !== '') listener.cancelled(id)
    else if (claims > 0) holdsWord = true
    else listener.wake()
  }

  /** After the claimer has seen its reply. */
  function settle() {
    if (isClosed || claims > 0) return
    const [token, word] = [holdsToken, holdsWord]
    holdsToken = false
    holdsWord = false
    if (token) take()
    if (word) listener.wake()
  }

  async function listen() {
    while (!isClosed) {
      if (isFull || connection.runId === undefined) {
        await change.promise
        continue
      }
      const lost = change.promise
      try {
        // The promise of a lost connection may never settle.
        const found = await Promise.race([connection.call(blockLimitMs, 'BLPOP', key, blockSeconds), untilLost(lost)])
        if (found) take()
      } catch {
        if (!isClosed) await Bun.sleep(pauseMs)
      }
    }
  }

  async function untilLost(first: Promise<void>): Promise<undefined> {
    for (let next = first; ; next = change.promise) {
      await next
      if (isClosed || connection.runId === undefined) return undefined
    }
  }

  connection.onChange(async runId => {
    changed()
    if (runId === undefined) return
    try {
      await connection.subscribe(limitMs, channelOf(prefix, queue), hear)
      // What was said meanwhile nobody heard.
      if (!isClosed) listener.wake()
    } catch {
      if (!isClosed) connection.reconnect()
    }
  })
  void listen()

  return {
    claiming: () => void claims++,
    claimed(full) {
      claims--
      isFull = full
      if (holdsToken || holdsWord) setImmediate(settle)
      changed()
    },
    freed() {
      if (!isFull) return
      isFull = false
      changed()
    },
    async close() {
      isClosed = true
      changed()
      await connection.close()
    },
  }
}
