import type { QueueStats, TaskError, TaskState } from '@/core/queue/admin'
import {
  type Claimed,
  type EndListener,
  errorsMax,
  type Finish,
  type Held,
  keptError,
  type NewTask,
  type StoredTask,
} from '@/infra/queue/driver'
import { toTimestamp } from '@/core/clock'
import type { ModelGroup } from './model-group'
import { heldForOf, type Marks } from './model-held'
import type { ModelHistory } from './model-history'

/** A task as the model remembers it. */
export interface ModelTask {
  id: string
  isIdKept: boolean
  priority: number
  envelope: string
  unique: NewTask['unique']
  lane: string | undefined
  delayMs: number
  /** Also when it is held no more. */
  after?: NewTask['after']
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
  /** What collects, by its key. */
  groups: Map<string, ModelGroup>
  /** How tasks have ended, by the id of the one that waits for them. */
  marks: Map<string, Marks>
  /** What each claim got. */
  claims: Map<string, string[]>
  isPaused: boolean
  /** The theoretical arrival time of the next start, of lanes and of the queue itself. */
  tats: Map<string, number>
  /** When each line had its last turn, as the how manieth of all. */
  turns: Map<string, number>
  turn: number
  /** What the next claim is to take. */
  given: readonly string[] | undefined
  total: QueueStats['total']
  history: ModelHistory
  listeners: Set<{ wake(): void; cancelled(id: string): void }>
  endListeners: Set<EndListener>
}

const priorities = 10

export const newQueue = (): ModelQueue => ({
  ...{ tasks: new Map(), lines: Array.from({ length: priorities }, () => []), kept: new Map(), keys: new Map(), claims: new Map() },
  ...{ isPaused: false, tats: new Map(), turns: new Map(), turn: 0, given: undefined },
  groups: new Map(),
  ...{ total: { enqueued: 0, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 0 }, history: [] },
  ...{ marks: new Map(), listeners: new Set(), endListeners: new Set() },
})

export const newTaskOf = (
  { id, isIdKept, priority, delayMs, envelope, unique, lane, follower, after }: NewTask,
  nowMs: number,
): ModelTask => ({
  ...{ id, isIdKept, priority, delayMs, envelope, unique, lane, follower, after, state: 'waiting', atMs: nowMs },
  ...{ attempt: 0, failures: 0, crashes: 0, isCancelled: false, worker: '', nonce: '', ended: undefined, errors: [] },
})

export function keepError(task: ModelTask, message: string, nowMs: number) {
  const error = { at: toTimestamp(nowMs), attempt: task.attempt, message: keptError(message) }
  task.errors = [...task.errors, error].slice(-errorsMax)
}

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
  const { id, state, priority, envelope, attempt, failures, crashes, isCancelled, errors, worker, atMs, unique, lane } = task
  const { progress, result } = task
  return {
    ...{ id, state, priority, envelope, attempt, failures, crashes, isCancelled, errors: [...errors] },
    ...(unique ? { unique } : {}),
    ...(state === 'active' ? { worker } : {}),
    ...(state === 'waiting' ? {} : { atMs }),
    ...(lane === undefined ? {} : { lane }),
    ...(state === 'held' ? { heldFor: heldForOf(queue, task) } : {}),
    ...(progress === undefined ? {} : { progress }),
    ...(result === undefined ? {} : { result }),
  }
}

/** A page begins behind the task with which the one before has ended, or with the first when that one is gone. */
export function page(queue: ModelQueue, state: TaskState, count: number, after: string | undefined) {
  const tasks = inOrder(queue, state)
  const from = tasks.findIndex(({ id }) => id === after) + 1
  const shown = tasks.slice(from, from + count)
  const last = shown.at(-1)
  return {
    tasks: shown.flatMap(task => storedOf(queue, task) ?? []),
    ...(last && from + count < tasks.length ? { cursor: last.id } : {}),
  }
}

export function statsOf(queue: ModelQueue, nowMs: number): Omit<QueueStats, 'queue'> {
  const count = (state: TaskState) => inOrder(queue, state).length
  const first = inOrder(queue, 'waiting')[0]
  return {
    ...{ waiting: count('waiting'), scheduled: count('scheduled'), active: count('active'), dead: count('dead'), done: count('done') },
    ...{ held: count('held'), isPaused: queue.isPaused, total: { ...queue.total } },
    ...(first ? { oldestWaitingMs: nowMs - first.atMs } : {}),
  }
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
