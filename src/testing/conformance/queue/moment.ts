import { type TaskState, taskStates } from '@/core/queue/admin'
import type { ExchangeReply, Finish, NewTask, QueueDriver, StoredTask } from '@/infra/queue/driver'
import type { Call } from './trace'

/** What invariants look at. */

/** One call, what there was before it, and what after it. */
export interface Moment {
  call: Call
  reply: unknown
  before: Snapshot
  after: Snapshot
  /** By the clock of the store, before and after the call. */
  beganMs: number
  endedMs: number
  ledger: Ledger
}

export interface Snapshot {
  tasks: Record<TaskState, StoredTask[]>
  stats: Awaited<ReturnType<QueueDriver['stats']>>
}

/** What has been so far. */
export interface Ledger {
  removed: number
  /** What was accepted of the end of each attempt. */
  ended: Map<string, Finish['outcome']>
  /** The attempts that were given of each task, while it is there. */
  attempts: Map<string, number>
  keys: Map<string, { id: string; untilMs: number }>
  /** The key that each task was enqueued with. */
  uniques: Map<string, NonNullable<NewTask['unique']>>
  /** The theoretical arrival time of the next start of each lane, and of the queue, at its earliest. */
  tats: Map<string, number>
}
export const newLedger = (): Ledger => ({
  ...{ removed: 0, ended: new Map(), attempts: new Map(), keys: new Map(), uniques: new Map(), tats: new Map() },
})

export async function snapshot(driver: QueueDriver, queue: string): Promise<Snapshot> {
  const states = ['waiting', 'scheduled', 'held', 'active', 'done', 'dead'] as const
  const listed = states.map(async state => (await driver.list(queue, state, 1000)).tasks)
  const [waiting, scheduled, held, active, done, dead] = await Promise.all(listed)
  if (!waiting || !scheduled || !held || !active || !done || !dead) throw new Error('a list is missing')
  return { tasks: { waiting, scheduled, held, active, done, dead }, stats: await driver.stats(queue) }
}

/** What does not depend on when it was done. */
export const timeless = ({ tasks, stats: { oldestWaitingMs, ...stats } }: Snapshot) => ({
  stats: { ...stats, isAnyWaiting: oldestWaitingMs !== undefined },
  tasks: taskStates.map(state => [
    state,
    inLines(tasks[state], state).map(({ atMs: _, errors, ...task }) => ({
      ...task,
      errors: errors.map(({ attempt, message }) => ({ attempt, message })),
    })),
  ]),
})

/** Those that wait, line by line: whose turn it is among lanes is no promise. */
export const inLines = (tasks: readonly StoredTask[], state: TaskState): readonly StoredTask[] =>
  state === 'waiting'
    ? tasks.toSorted((a, b) => a.priority - b.priority || Number(lineOf(a) > lineOf(b)) - Number(lineOf(a) < lineOf(b)))
    : tasks
const lineOf = ({ lane = '' }: StoredTask): string => lane

/** What was given that was not held by the same claim before. */
export function givenOf({ call, reply, before }: Moment) {
  if (call.is !== 'exchange' || !call.exchange.claim) return []
  const was = new Map(before.tasks.active.map(({ id, attempt }) => [id, attempt]))
  return (reply as ExchangeReply).claimed.filter(({ id, attempt }) => was.get(id) !== attempt)
}
