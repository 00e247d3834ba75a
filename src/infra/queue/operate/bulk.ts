import type { FieldProblem } from '@/core/error'
import type { TaskState } from '@/core/queue/admin'
import { type Bulk, type BulkAction, type BulkProgress, bulkStates, type TaskFilter } from '@/core/queue/bulk'
import { operateMax, type QueueDriver, type StoredTask } from '../driver'
import { readEnvelope } from '../envelope'
import { type BulkOptions, isHalfMoved, moveTasks } from './move'
import { pagesOf, type Place } from './pages'

/** Where a walk is: in which of its states, and where in that. */
export interface BulkPlace {
  state: TaskState
  at?: Place | undefined
}

/** What a step has come to. `next` is where another walk goes on, when nothing of what was seen is left to be done. */
export type BulkStep = Omit<BulkProgress, 'nextPageToken'> & { next?: BulkPlace }

/**
 * Goes through the lists of a queue and does the same with all that fits: a page is read, and what fits of it is done, up to a
 * hundred in a call, so that nothing is held up for long. Nothing is remembered of it anywhere: killed, it is run again, and finds
 * what is left. What comes, or changes its state, while it runs may be missed.
 * @param from where an earlier walk was
 * @throws QueueUnavailable; what was done until then is done
 */
export async function* runBulk(options: BulkOptions, queue: string, bulk: Bulk, from?: BulkPlace): AsyncGenerator<BulkStep> {
  const { driver, clock } = options
  const { filter = {}, isDryRun = false, limit = Number.POSITIVE_INFINITY } = bulk
  const states: TaskState[] = bulkStates[bulk.action].filter(state => filter.states?.includes(state) ?? true)
  const fits = filterOf(filter, clock.nowMs())
  const act = actionOf(options, queue, bulk)
  const counts = { seen: 0, matched: 0, done: 0, skipped: 0 }
  const stats = await driver.stats(queue)
  const total = states.reduce((sum, state) => sum + stats[state], 0)

  // What a move that was killed has left is a dead letter, whichever state it came from.
  const walked: TaskState[] = bulk.action === 'move' ? [...new Set(['dead' as const, ...states])] : states
  const first = from ? Math.max(0, walked.indexOf(from.state)) : 0
  for (const [i, state] of walked.entries()) {
    if (i < first) continue
    const nextState = walked[i + 1]
    const after = nextState && { next: { state: nextState } }
    const isWanted = (task: StoredTask) =>
      (bulk.action === 'move' && isHalfMoved(task, queue, bulk.to)) || (states.some(each => each === state) && fits(task))
    for await (const { tasks, next } of pagesOf(driver, queue, state, state === from?.state ? from.at : undefined)) {
      const wanted = tasks.filter(isWanted).slice(0, limit - counts.matched)
      counts.seen += tasks.length
      counts.matched += wanted.length
      for (let from = 0; from < wanted.length && !isDryRun; from += operateMax) {
        const some = wanted.slice(from, from + operateMax)
        const done = await act(some)
        counts.done += done
        counts.skipped += some.length - done
        yield { total, ...counts, isOver: false }
      }
      if (counts.matched >= limit) break
      yield { total, ...counts, isOver: false, ...(next && { next: { state, at: next } }) }
    }
    if (counts.matched >= limit) break
    if (after) yield { total, ...counts, isOver: false, ...after }
  }
  yield { total, ...counts, isOver: true }
}

/** What makes no sense, of what was said. */
export function bulkFaults(queue: string, bulk: Bulk): FieldProblem[] {
  const { filter: { states = [], olderThanMs = 0 } = {}, limit = 1 } = bulk
  const may: readonly TaskState[] = bulkStates[bulk.action]
  const problems = states
    .filter(state => !may.includes(state))
    .map(state => ({ pointer: '/filter/states', detail: `${bulk.action} is for tasks that are ${may.join(', ')}, not ${state}` }))
  if (bulk.action === 'move' && bulk.to === queue) problems.push({ pointer: '/to', detail: 'is the queue in which they are' })
  if (!Number.isInteger(limit) || limit < 1) problems.push({ pointer: '/limit', detail: 'must be a whole number from 1' })
  if (!(olderThanMs >= 0)) problems.push({ pointer: '/filter/olderThanMs', detail: 'must be a number from 0' })
  return problems
}

/** @returns how many of them it has done */
type Act = (tasks: readonly StoredTask[]) => Promise<number>

function actionOf(options: BulkOptions, queue: string, bulk: Bulk): Act {
  const { driver } = options
  if (bulk.action === 'move') return tasks => moveTasks(options, queue, bulk.to, tasks)
  const { call, isDone } = calls[bulk.action]
  return async tasks => {
    const answers = await call(
      driver,
      queue,
      tasks.map(({ id }) => id),
    )
    return answers.filter(answer => isDone.includes(answer)).length
  }
}

interface OneCall {
  call(driver: QueueDriver, queue: string, ids: readonly string[]): Promise<string[]>
  isDone: readonly string[]
}
const calls: Record<Exclude<BulkAction, 'move'>, OneCall> = {
  retry: { call: (driver, queue, ids) => driver.retry(queue, ids), isDone: ['retried'] },
  cancel: { call: (driver, queue, ids) => driver.cancel(queue, ids), isDone: ['cancelled', 'cancelling'] },
  delete: { call: (driver, queue, ids) => driver.remove(queue, ids), isDone: ['removed'] },
}

function filterOf({ task, olderThanMs, error }: TaskFilter, nowMs: number): (stored: StoredTask) => boolean {
  return stored => {
    if (error !== undefined && !stored.errors.at(-1)?.message.includes(error)) return false
    if (task === undefined && olderThanMs === undefined) return true
    const read = stored.envelope === undefined ? undefined : readEnvelope(stored.envelope)
    if (task !== undefined && read?.task !== task) return false
    if (olderThanMs === undefined) return true
    const sinceMs = stored.state === 'dead' ? stored.atMs : read?.enqueuedAtMs
    return sinceMs !== undefined && nowMs - sinceMs >= olderThanMs
  }
}
