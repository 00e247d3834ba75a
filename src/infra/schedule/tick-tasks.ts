import type { Database } from '@/core/database'
import { withDeadline } from '@/core/deadline'
import { AppError } from '@/core/error'
import type { Log } from '@/core/log'
import type { QueueAdmin } from '@/core/queue/admin'
import type { AnyTask } from '@/core/queue/task'
import type { PeekedTask, QueueDriver } from '../queue/driver'
import { primary } from './rows'

/** What has become of the tasks of ticks, in the outbox or in the queue, wherever operators have moved them. */
export interface TickTasks {
  /** Of each task; one of which nothing can be known now, since the queue is away, is not among them. */
  look(asked: readonly TickTask[]): Promise<Map<string, TickTaskState>>
  /** Asks for their ends. @returns the ids of those that have ended, or will; it may be repeated for the others */
  cancel(ids: readonly string[]): Promise<Set<string>>
}

export interface TickTask {
  taskId: string
  /** Its name, by which its queue is known. */
  task: string
}
/** `gone`: it has ended and is not kept, or never was. `dead`: a dead letter, or the outbox gave it up. */
export type TickTaskState = 'alive' | 'done' | 'dead' | 'gone'

export interface TickTaskOptions {
  db: Database
  driver: Pick<QueueDriver, 'peek'>
  admin: Pick<QueueAdmin, 'cancel' | 'queues'>
  tasks: readonly AnyTask[]
  log: Log
}

/** In one statement, or one call of the driver. */
const askedMax = 100
/** At a time. */
const cancelsMax = 10
/** Ticks that need no answer must not be late while the queue is slow. */
const limitMs = 1000

export function createTickTasks({ db, driver, admin, tasks, log }: TickTaskOptions): TickTasks {
  const queueOf = new Map(tasks.map(({ name, defaults }) => [name, defaults.queue]))
  const hasOutbox = db.dialect.name !== 'sqlite'
  let isAway = false
  let askAgainMs = 0

  /** @returns what `work` says, or undefined: then the log has it, once until it works again, and nobody is asked for a while */
  async function tried<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (performance.now() < askAgainMs) return undefined
    try {
      const said = await withDeadline(work(), limitMs, () => new Error(`the queue did not answer within ${limitMs} ms`))
      if (isAway) log.info('the queue says again which tasks of schedules have ended')
      isAway = false
      return said
    } catch (err) {
      if (!isAway) log.warn('the queue does not say which tasks of schedules have ended; ticks that have to know wait', { err })
      isAway = true
      askAgainMs = performance.now() + limitMs
      return undefined
    }
  }

  /** Those that are there. */
  async function inOutbox(ids: readonly string[]): Promise<Map<string, Kept>> {
    if (!hasOutbox) return new Map()
    const sql = `select "taskId", "claimedAt" is not null as "isMarked", "gaveUpAt" is not null as "isGivenUp" from "outbox" where "taskId" in (${ids.map(() => '?').join(', ')})`
    const found = await db.all(sql, ids, primary)
    return new Map(found.map(row => [String(row['taskId']), keptOf(Number(row['isGivenUp']) === 1, Number(row['isMarked']) === 1)]))
  }

  /** Those that are there, of one queue most likely. */
  async function inQueues(first: string, ids: readonly string[]): Promise<Map<string, TickTaskState>> {
    const states = new Map<string, TickTaskState>()
    let missing = ids
    for (const queue of [first, ...admin.queues.filter(each => each !== first)]) {
      if (missing.length === 0) break
      const found = await driver.peek(queue, missing)
      for (const [i, id] of missing.entries()) if (found[i]) states.set(id, stateOf(found[i]))
      missing = missing.filter(id => !states.has(id))
    }
    return states
  }

  /** Tasks of one queue, at most so many. */
  async function lookAt(queue: string, ids: readonly string[]): Promise<[string, TickTaskState][]> {
    // The outbox first: what is handed over meanwhile is in the queue then.
    const kept = await inOutbox(ids)
    const asked = ids.filter(id => kept.get(id) !== 'waiting')
    const found = asked.length > 0 ? await tried(() => inQueues(queue, asked)) : new Map<string, TickTaskState>()
    return ids.flatMap((id): [string, TickTaskState][] => {
      const own = kept.get(id)
      if (own === 'waiting') return [[id, 'alive']]
      return found ? [[id, found.get(id) ?? (own === undefined ? 'gone' : unfound[own])]] : []
    })
  }

  return {
    async look(asked) {
      const looks: Promise<[string, TickTaskState][]>[] = []
      for (const [queue, some] of Map.groupBy(asked, ({ task }) => queueOf.get(task) ?? admin.queues[0] ?? ''))
        for (const piece of piecesOf(some, askedMax))
          looks.push(
            lookAt(
              queue,
              piece.map(({ taskId }) => taskId),
            ),
          )
      return new Map((await Promise.all(looks)).flat())
    },

    async cancel(ids) {
      const ended = new Set<string>()
      for (const some of piecesOf(ids, cancelsMax)) {
        const cancelled = await tried(() => Promise.all(some.map(id => admin.cancel(id).catch(ignoreMissing))))
        if (!cancelled) break
        for (const id of some) ended.add(id)
      }
      return ended
    },
  }
}

/** Of what is in the outbox: nobody has handed it over, somebody may have, or nobody will any more, though somebody may have. */
type Kept = 'waiting' | 'marked' | 'givenUp'

const keptOf = (isGivenUp: boolean, isMarked: boolean): Kept => (isGivenUp ? 'givenUp' : isMarked ? 'marked' : 'waiting')

/** What is not in the queue. One that was given up must not hold up its schedule until an operator decides, as a dead letter does not. */
const unfound: Record<Exclude<Kept, 'waiting'>, TickTaskState> = { marked: 'alive', givenUp: 'dead' }

/** It has ended since it was looked at. */
function ignoreMissing(thrown: unknown): void {
  if (!(thrown instanceof AppError && thrown.kind === 'NotFound')) throw thrown
}

const stateOf = ({ outcome }: PeekedTask): TickTaskState => outcome ?? 'alive'

const piecesOf = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))
