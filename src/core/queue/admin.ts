import type { Bulk, BulkProgress, ErrorGroups } from './bulk'
import type { Enqueued, EnqueueOptions } from './queue'
import type { Progress, TaskRules } from './task'

/** What operators do with tasks: the command line, and the admin API. Every call may be repeated. */
export interface QueueAdmin {
  /** Names of all queues, each worked by some role. */
  readonly queues: readonly string[]
  /**
   * @param state of which tasks
   * @returns at most `pageSize`, 50 when it is not said and never more than 1000, and where the next page begins, absent on the last
   */
  list(queue: string, state: TaskState, options?: { pageSize?: number; pageToken?: string }): Promise<TaskPage>
  /** @throws TaskNotFound */
  show(id: string, queue?: string): Promise<TaskView>
  /** A dead letter waits again, its failures and crashes forgotten, its errors kept. @throws TaskNotFound, TaskNotDead */
  retry(id: string, queue?: string): Promise<void>
  /** To another queue, under the same id; of a dead letter that means that it waits again. Not refused when that is full. @throws TaskNotFound, TaskNotMoved */
  move(id: string, to: string, queue?: string): Promise<void>
  /** A waiting task is removed; a running one is told to end, and not retried. @throws TaskNotFound */
  cancel(id: string, queue?: string): Promise<'cancelled' | 'cancelling'>
  /** Removes a task that does not run. @throws TaskNotFound, TaskActive */
  remove(id: string, queue?: string): Promise<void>
  /**
   * Does the same with all tasks of a queue that fit, and says after each hundred, at most, how far it is. It begins when it is read, and ends
   * when it is read no further. Broken off or killed it is run again, and goes on with what is left. What transactions have left in the outbox
   * is not among them.
   * @throws UnknownQueue, and Bulk for what makes no sense
   */
  bulk(queue: string, bulk: Bulk): AsyncIterable<BulkProgress>
  /** What dead letters have died of. @param options `scannedMax`: at most so many are looked at, newest first; 10,000 by default, a million at most */
  errors(queue: string, options?: { scannedMax?: number }): Promise<ErrorGroups>
  stats(queue: string): Promise<QueueStats>
  /** From when it resolves nothing of the queue is started, in any process; what runs goes on. What is enqueued waits. */
  pause(queue: string): Promise<void>
  resume(queue: string): Promise<void>
  /** Compares what belongs together, a page at a time; with `fix` mends what can be mended. A healthy queue has no findings. */
  fsck(queue: string, options: { fix: boolean }): AsyncIterable<FsckFinding>
  /** One step of that, of some milliseconds. @param pageToken what the step before said; the last says none */
  fsckStep(queue: string, options: { fix: boolean; pageToken?: string }): Promise<{ findings: FsckFinding[]; nextPageToken?: string }>
}

/** Enqueues what people say, by the names of tasks: all that any module of any role declares. */
export interface TaskIntake {
  /** In the order of their names. */
  readonly tasks: readonly DeclaredTask[]
  /** @throws TaskInvalid with all that is wrong, the pointers into a value with `task`, `payload` and the options beside them; and like `Queue.enqueue` */
  enqueue(task: string, payload: unknown, options?: TaskOptions): Promise<Enqueued>
}

export interface DeclaredTask {
  name: string
  /** The queue it goes to when none is said. */
  queue: string
  /** As it is declared: what administrators need to enqueue it. */
  byHand?: TaskRules['byHand']
}

/** What may be said beside it. */
export type TaskOptions = Omit<EnqueueOptions, 'tx'>

/**
 * `waiting`: to be started; `scheduled`: not before its time; `held`: not before others have ended; `active`: being worked on; `done`: ended
 * with success, and kept for a time; `dead`: ended without success, and kept.
 */
export type TaskState = (typeof taskStates)[number]
export const taskStates = ['waiting', 'scheduled', 'held', 'active', 'done', 'dead'] as const

export interface TaskPage {
  items: TaskView[]
  nextPageToken?: string
}

export interface TaskView {
  id: string
  queue: string
  state: TaskState
  /** Absent, as `payload`, when what is stored cannot be read. */
  task?: string
  /** Of a group a list of the first hundred. */
  payload?: unknown
  /** How many payloads there are, of a group. */
  groupSize?: number
  headers?: Readonly<Record<string, string>>
  priority: number
  enqueuedAt?: string
  /** When it may start, of a scheduled one. */
  runAt?: string
  /** Until when its worker has it, unless it says that it still works, of an active one. */
  leaseUntil?: string
  worker?: string
  /** It has committed with a transaction, and has not been handed to Redis yet: lists do not have it. */
  isInOutbox?: boolean
  /** Somebody asked for its end; its worker has not said yet that it has. */
  isCancelled?: boolean
  /** When it became a dead letter. */
  deadAt?: string
  /** Until when it is kept, of a done one. */
  keptUntil?: string
  result?: unknown
  progress?: Progress
  /** The lane it is in, `<limit>` or `<limit>/<key>`, when its task is under a limit. */
  lane?: string
  /** For how many others it is held still. */
  heldFor?: number
  attempt: number
  failures: number
  crashes: number
  /** The last ten, oldest first. */
  errors: TaskError[]
}

export interface TaskError {
  at: string
  attempt: number
  /** At most 1,000 characters. */
  message: string
}

export interface QueueStats {
  queue: string
  waiting: number
  scheduled: number
  held: number
  active: number
  /** Kept ones. */
  done: number
  dead: number
  /** Nothing of it is started until somebody resumes it. */
  isPaused: boolean
  /** Since when the first task in line could have been started; absent when none waits. */
  oldestWaitingMs?: number
  /** Committed with transactions and not handed to Redis yet, so in none of the others; counted up to 100,000. Absent where the queue is in the database. */
  outbox?: number
  /** Since the queue has been there. Counters are of use as rates; a crash of the server may lose the last second of them. */
  total: { enqueued: number; done: number; failed: number; crashed: number; dead: number; cancelled: number }
  /**
   * How many of `total` a second, over the last minute; over `overMs`, when the queue has been worked for less, or not for a while. Absent until
   * it has been worked for some seconds.
   */
  rates?: QueueStats['total'] & { overMs: number }
  /**
   * Over the last hour, or `overMs`: how long tasks waited for their first start since they could have had it, by the clocks of who enqueued
   * and who started them, and how long attempts ran. Off by a tenth at most. A worker that gets no answer hands in twice what it has seen in some seconds.
   */
  latencies?: { overMs: number; wait?: Percentiles; run?: Percentiles }
}

export interface Percentiles {
  count: number
  p50Ms: number
  p95Ms: number
  p99Ms: number
}

/** `fixed` says whether it was mended now; `remedy` what was done, or could be done. */
export interface FsckFinding {
  queue: string
  id?: string
  what: string
  remedy: string
  fixed: boolean
}
