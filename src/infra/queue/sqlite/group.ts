import { queueErrors } from '@/core/queue/queue'
import { isPassing } from '../driver'
import { asUnavailable, closed } from './errors'
import type { Session } from './session'

/**
 * Group commit. A commit waits for the disk, so operations that are called while one is under way, or in the same turn of the event
 * loop, share the next. Their promises settle when that is over: all of them are kept, or none. Since none of them had begun before
 * another was called, any order of theirs is right; they run in that of the calls.
 */
export interface Group {
  /** @param weight how many tasks it is about, since a group that is too large would hold up everybody */
  run<T>(weight: number, work: (session: Session) => Promise<T>): Promise<T>
  /** Refuses what comes from now on. Resolves when what is under way has settled. */
  close(): Promise<void>
}

export interface GroupOptions {
  /** Runs `work` in a transaction of its own, and tells watchers once it is committed. */
  transact(work: (session: Session) => Promise<void>): Promise<void>
  onGroup(operations: number): void
}

const operationsMax = 256
const weightMax = 2000
const waitingMax = 10_000

interface Operation {
  weight: number
  /** Keeps its result for `settle`. */
  work(session: Session): Promise<void>
  settle(): void
  reject(thrown: unknown): void
}

export function createGroup({ transact, onGroup }: GroupOptions): Group {
  let waiting: Operation[] = []
  let flushing: Promise<void> | undefined
  let isClosed = false

  /** As many as make a group; always one. */
  function take(): Operation[] {
    let weight = 0
    let count = 0
    for (const operation of waiting) {
      weight += operation.weight
      if (count > 0 && (count >= operationsMax || weight > weightMax)) break
      count++
    }
    const taken = waiting.slice(0, count)
    waiting = waiting.slice(count)
    return taken
  }

  async function flush(): Promise<void> {
    // Callers that were told a moment ago call again before this, and so come along.
    await nextTurn()
    while (waiting.length > 0) {
      const here = waiting.length
      let group: Operation[] | undefined
      try {
        await transact(async session => {
          // Taken once it can begin, so that all come along that were called meanwhile; kept when it has to begin again.
          group ??= take()
          for (const operation of group) await operation.work(session)
        })
        onGroup(group?.length ?? 0)
        for (const operation of group ?? []) operation.settle()
      } catch (thrown) {
        await failed(group ?? waiting.splice(0, here), thrown)
      }
      await nextTurn()
    }
  }

  async function failed(group: readonly Operation[], thrown: unknown): Promise<void> {
    // One of them may be at fault, which the others are not to suffer from.
    if (group.length > 1 && !isPassing(thrown)) return oneByOne(group)
    for (const { reject } of group) reject(asUnavailable(thrown))
  }

  async function oneByOne(group: readonly Operation[]): Promise<void> {
    for (const { work, settle, reject } of group) await transact(work).then(settle, thrown => reject(asUnavailable(thrown)))
  }

  return {
    run(weight, work) {
      if (isClosed) return Promise.reject(closed())
      if (waiting.length >= waitingMax) return Promise.reject(queueErrors.QueueUnavailable({ retryAfterSeconds: 1 }))
      return new Promise((resolve, reject) => {
        let settle = () => {}
        waiting.push({
          weight,
          async work(session) {
            const result = await work(session)
            settle = () => resolve(result)
          },
          settle: () => settle(),
          reject,
        })
        flushing ??= flush().finally(() => {
          flushing = undefined
        })
      })
    },
    async close() {
      isClosed = true
      await flushing
    },
  }
}

const nextTurn = () => new Promise<void>(resolve => setImmediate(resolve))
