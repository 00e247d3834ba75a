import type { QueueStats, TaskError, TaskState } from '@/core/queue/admin'
import type { Claimed, EndListener, Finish, Held, NewTask, StoredTask } from '@/infra/queue/driver'
import { heldForOf, type Marks } from './model-held'

/** A task as the model remembers it. */
export interface ModelTask {
  id: string
  isIdKept: boolean
  priority: number
  envelope: string
  unique: NewTask['unique']
  delayMs: number
  /** Also when it is held no more. */
  after: NewTask['after']
  follower: NewTask['follower']
  state: TaskState
  /** When it may start, until when its worker has it, when it ended; of a waiting or held one since when it is. */
  atMs: number
  attempt: number
  failures: number
  crashes: number
  isCancelled: boolean
  worker: string
  /** Of the claim that has it. */
  nonce: string
  /** What was said last of how an attempt ended, and by whom. */
  ended: (Held & { outcome: Finish['outcome'] }) | undefined
  errors: TaskError[]
  progress?: string
  result?: string
}

export interface ModelQueue {
  tasks: Map<string, ModelTask>
  /** Ids that wait, of each priority, the next first. */
  lines: string[][]
  /** Until when an id is remembered. */
  kept: Map<string, number>
  keys: Map<string, { id: string; untilMs: number }>
  /** How tasks have ended, by the id of the one that waits for them. */
  marks: Map<string, Marks>
  /** What each claim got. */
  claims: Map<string, string[]>
  total: QueueStats['total']
  listeners: Set<{ wake(): void; cancelled(id: string): void }>
  endListeners: Set<EndListener>
}

const priorities = 10

export const newQueue = (): ModelQueue => ({
  ...{ tasks: new Map(), lines: Array.from({ length: priorities }, () => []), kept: new Map(), keys: new Map(), claims: new Map() },
  ...{ total: { enqueued: 0, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 0 } },
  ...{ marks: new Map(), listeners: new Set(), endListeners: new Set() },
})

export const isHolder = (task: ModelTask | undefined, { attempt, nonce }: Held) =>
  task?.state === 'active' && task.attempt === attempt && task.nonce === nonce
export const isSame = ({ ended }: ModelTask, { attempt, nonce, outcome }: Finish) =>
  ended?.attempt === attempt && ended.nonce === nonce && ended.outcome === outcome

export function wake({ listeners }: ModelQueue) {
  for (const listener of listeners) listener.wake()
}

/** Waiting ones as their lines say, the others by their time, then by id; dead ones the other way round. */
export function inOrder({ tasks, lines }: ModelQueue, state: TaskState): ModelTask[] {
  if (state === 'waiting') return lines.flat().map(id => tasks.get(id) as ModelTask)
  const sorted = [...tasks.values()].filter(task => task.state === state).toSorted((a, b) => a.atMs - b.atMs || (a.id < b.id ? -1 : 1))
  return state === 'dead' ? sorted.toReversed() : sorted
}

export function leaveLine({ lines }: ModelQueue, { id, priority }: ModelTask) {
  lines[priority] = (lines[priority] as string[]).filter(each => each !== id)
}

export function claimedOf(task: ModelTask | undefined, nonce: string): Claimed[] {
  if (task?.state !== 'active' || task.nonce !== nonce) return []
  const { id, attempt, failures, crashes, envelope } = task
  return [{ id, attempt, failures, crashes, envelope }]
}

export function storedOf(queue: ModelQueue, task: ModelTask | undefined): StoredTask | undefined {
  if (!task) return undefined
  const { id, state, priority, envelope, attempt, failures, crashes, isCancelled, errors, worker, atMs, progress, result } = task
  return {
    ...{ id, state, priority, envelope, attempt, failures, crashes, isCancelled, errors: [...errors] },
    ...(state === 'active' ? { worker } : {}),
    ...(state === 'waiting' ? {} : { atMs }),
    ...(state === 'held' ? { heldFor: heldForOf(queue, task) } : {}),
    ...(progress === undefined ? {} : { progress }),
    ...(result === undefined ? {} : { result }),
  }
}

export function page(queue: ModelQueue, state: TaskState, count: number, from: number) {
  const tasks = inOrder(queue, state)
  const next = from + count
  return {
    tasks: tasks.slice(from, next).flatMap(task => storedOf(queue, task) ?? []),
    ...(next < tasks.length ? { cursor: String(next) } : {}),
  }
}

export function statsOf(queue: ModelQueue, nowMs: number): Omit<QueueStats, 'queue'> {
  const count = (state: TaskState) => inOrder(queue, state).length
  const first = inOrder(queue, 'waiting')[0]
  return {
    ...{ waiting: count('waiting'), scheduled: count('scheduled'), active: count('active'), dead: count('dead'), done: count('done') },
    ...{ held: count('held'), isPaused: false, total: { ...queue.total } },
    ...(first ? { oldestWaitingMs: nowMs - first.atMs } : {}),
  }
}

/** How long until something may be claimed; undefined when nothing comes by itself. */
export function nextDue(queue: ModelQueue, nowMs: number): number | undefined {
  if (inOrder(queue, 'waiting').length > 0) return 0
  const next = inOrder(queue, 'scheduled')[0]
  return next && Math.max(0, next.atMs - nowMs)
}

export function beat(queue: ModelQueue, leaseMs: number, held: readonly Held[], nowMs: number) {
  const isMine = (each: Held) => isHolder(queue.tasks.get(each.id), each)
  const mine = held.filter(isMine).map(({ id }) => queue.tasks.get(id) as ModelTask)
  for (const task of mine) task.atMs = Math.max(task.atMs, nowMs + leaseMs)
  return {
    lost: held.filter(each => !isMine(each)).map(({ id }) => id),
    cancelled: mine.filter(({ isCancelled }) => isCancelled).map(({ id }) => id),
  }
}
