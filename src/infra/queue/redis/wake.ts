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
  /** Whatever token it has taken is there for others then. Resolves soon, also when Redis is away. */
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
/** Within so long a server has noticed that a connection has ended. */
const noticeMs = 50

interface WatchOptions {
  /** Of this watch alone, since it blocks. */
  connection: RedisConnection
  prefix: string
  queue: string
  listener: Listener
  /** Puts a token back, by another connection. */
  giveBack(): void
  /** Sees to it that there is a token when something waits, by another connection. */
  handBack(): Promise<void>
}

export function createWatch({ connection, prefix, queue, listener, giveBack, handBack }: WatchOptions): Watch {
  const key = wakeKeyOf(prefix, queue)
  let isClosed = false
  let isFull = false
  let claims = 0
  /** What came while a claim was under way: what becomes of a token the claim decides. */
  let holdsToken = false
  let holdsWord = false
  /** Of the one loop that listens: ends its wait until it may look again, and the look that waits for a token. */
  let goOn = () => {}
  let giveUp = () => {}

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
        await new Promise<void>(resolve => {
          goOn = resolve
        })
        continue
      }
      try {
        if (await look()) take()
      } catch {
        if (!isClosed) await Bun.sleep(pauseMs)
      }
    }
  }

  /** The promise of a lost connection may never settle, so this one is settled for it: one that all looks raced would grow with each. */
  function look(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      giveUp = () => resolve(undefined)
      connection.call(blockLimitMs, 'BLPOP', key, blockSeconds).then(resolve, reject)
    })
  }

  connection.onChange(async runId => {
    if (runId === undefined) return giveUp()
    goOn()
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
      if (!isFull) goOn()
    },
    freed() {
      if (!isFull) return
      isFull = false
      goOn()
    },
    async close() {
      isClosed = true
      goOn()
      giveUp()
      // A token may have come by then that nobody looks at, and the server may hand out another until it knows that nobody waits.
      await connection.drop()
      await handBack()
      // The end of one connection and a word on another may reach the server in either order.
      await Bun.sleep(noticeMs)
      await handBack()
    },
  }
}
