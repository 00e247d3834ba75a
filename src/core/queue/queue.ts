import type { Database } from '../database'
import { defineErrors, type FieldProblem } from '../error'
import type { AnyTask, EndedTask, Task, TaskDefaults } from './task'

/**
 * Work for later. What is accepted is done at least once: a task whose `enqueue` has resolved survives every process, and every
 * attempt that is lost is made again. What is promised, and what is not, is in docs/queue.md.
 */
export interface Queue {
  /**
   * @throws TaskRefused for what can never be enqueued, QueueUnavailable when the queue cannot be reached or refuses writes: then
   * nothing was enqueued, or, when no answer came, the same call with the same `id` is safe to repeat. QueueFull when it has its
   * `backlogMax`: then nothing was enqueued; in a transaction on MySQL the task waits in the outbox instead
   */
  enqueue<P>(task: Task<P>, payload: P, options?: EnqueueOptions): Promise<Enqueued>
  /**
   * Many of one task, up to 10,000, with replies in their order. One that can never be enqueued refuses all of them. Without `tx` they go
   * to the queue in batches of up to 1,000: when it cannot be reached midway, those before are enqueued; give each an `id`, and the same
   * call is safe to repeat. Throws like `enqueue`; when the queue is full midway, the cause of its QueueFull is a PartlyEnqueued that says which are enqueued.
   * Whether it is full is asked once for each batch, so one that has room for a task takes all of a batch.
   */
  enqueueMany<P>(task: Task<P>, items: readonly EnqueueItem<P>[], options?: { tx?: Database }): Promise<Enqueued[]>
  /**
   * One after another, each when the one before is done, up to 100, all in one queue. What a handler returns with `result` the next finds in
   * `context.before()`. One that fails for good keeps those behind it waiting: retried, the chain goes on; cancelled or deleted, they end, too.
   */
  enqueueChain(steps: readonly Step[], options?: ChainOptions): Promise<Enqueued[]>
  /**
   * Many, up to 10,000, and one more, `last`, that starts when all of them have ended, however they did, or, with `need: 'done'`, when all are
   * done. All in one queue.
   */
  enqueueBatch(steps: readonly Step[], last: Step, options?: BatchOptions): Promise<EnqueuedBatch>
  /**
   * Waits until a task has ended: of one that is kept (`keepForMs`), or dead, it is told at once. What is not kept cannot be told from what
   * never was: it is `gone`, which is found out within two seconds. Not inside a transaction, since that is what the task would wait for.
   * @throws Timeout.TaskNotEnded when it has not ended within `timeoutMs`, 0–600,000, 30,000 by default, whether the queue answers or not; with 0 after one look; the reason of `signal` when that aborts;
   * QueueUnavailable when the queue cannot be reached at first, Unavailable.TooManyWaits when 10,000 wait in this process
   */
  wait(id: string, options?: WaitOptions): Promise<EndedTask | { id: string; outcome: 'gone' }>
}

/** One task of several that are enqueued together; made with `step`. */
export interface Step {
  readonly task: AnyTask
  readonly payload: unknown
  /** What says which task it is, or that it may not be there, is not for one of several: the others count on it. */
  readonly options: Omit<EnqueueOptions, 'tx' | 'group' | 'id' | 'uniqueFor' | 'uniqueKey'>
}

/** A payload that does not fit the task is a compile error. */
export const step = <P>(task: Task<P>, payload: P, options: Step['options'] = {}): Step => ({ task, payload, options })

export interface ChainOptions {
  tx?: Database
  /** The queue of all of them; that of the first task when absent. */
  queue?: string
  /** The caller's own: the same chain, or batch, is enqueued once only, since the ids of its tasks are made from it. At most 100 characters. */
  id?: string
}
export interface BatchOptions extends ChainOptions {
  /** `ended` by default: dead letters and cancelled ones count as well. */
  need?: 'ended' | 'done'
}
export interface EnqueuedBatch {
  tasks: Enqueued[]
  last: Enqueued
}

export interface WaitOptions {
  /** Where it is; looked for in all when absent. */
  queue?: string
  timeoutMs?: number
  signal?: AbortSignal
}

export interface Enqueued {
  id: string
  /**
   * `enqueued`: it is there, or commits with the transaction. `duplicate`: a task with this id is there already, or has been in the
   * last 24 hours. `unique`: another task with this unique key is there, and `id` is that one's. Neither is an error, and nothing
   * was enqueued. `joined`: it was added to the task of its group, whose id `id` is. In a transaction on MySQL duplicates are found out later, when the task is handed to Redis, and dropped there.
   */
  status: 'enqueued' | 'duplicate' | 'unique' | 'joined'
}

export interface EnqueueOptions extends TaskDefaults {
  /** Makes the task part of this transaction: it is enqueued when that commits, and never when it does not. */
  tx?: Database
  /** The caller's own, 1–128 printable ASCII characters without spaces and braces: the same id is enqueued once only, until 24 hours after the task has ended. */
  id?: string
  /** 0–31,536,000,000 (a year). Not before so many milliseconds. */
  delayMs?: number
  /** Instead of `delayMs`: an RFC 3339 instant, by the clock of this process. One in the past is now. */
  at?: string
  /** While a task with the same unique key waits or runs, but for so many milliseconds at most, another is not enqueued. 1–31,536,000,000. */
  uniqueFor?: number
  /** What is unique; the task's name and payload when absent. 1–1000 characters. */
  uniqueKey?: string
  /** An RFC 3339 instant after which it is not started any more, and a running attempt is aborted; it becomes a dead letter. */
  deadline?: string
  /** Of whom it is, under the limit of its task: a tenant, a host. 1–95 printable ASCII characters without spaces and braces. */
  key?: string
  /**
   * Which of the groups of its task it belongs to: see `GroupRule`. 1–1000 characters. Another queue, priority or `key` makes it another group.
   * Of the other options only `tx`, `id` and `headers` go with it: an id is enqueued once only, until 24 hours after it was added to a group,
   * and the headers of a group are those of its first.
   */
  group?: string
  /** Handed to the handler: at most 16, of 1 KiB together. Names in lower case. */
  headers?: Readonly<Record<string, string>>
}

export type EnqueueItem<P> = Omit<EnqueueOptions, 'tx'> & { payload: P }

/**
 * What `enqueue` throws for what can never be enqueued. It is a fault of the code that enqueues, so towards those who use the product
 * it is an error like any other that nobody foresaw; who takes tasks from people, such as the command line, says it in words of its own.
 */
export class TaskRefused extends Error {
  override readonly name = 'TaskRefused'
  readonly code: RefusalCode
  /** `pointer` is a JSON Pointer into the payload, or the name of an option; of many tasks it begins with the place of the one at fault. */
  readonly problems: readonly FieldProblem[]

  constructor(code: RefusalCode, problems: readonly FieldProblem[] = [], options: { cause?: unknown } = {}) {
    // For the log, which has of an error its message.
    const details = problems.slice(0, problemsSaidMax).map(({ pointer, detail }) => ` ${pointer ? `${pointer}: ` : ''}${detail};`)
    super(`${refusals[code]}${details.join('').replace(/;$/, '')}`, options)
    this.code = code
    this.problems = problems
  }
}

/** What is said of each, before its problems. */
export const refusals = {
  UnknownTask: 'No module of this process declares this task.',
  UnknownQueue: 'No role works this queue.',
  OptionInvalid: 'An option of the task is out of range.',
  PayloadInvalid: 'The payload does not fit the schema of its task.',
  PayloadTooLarge: 'The payload is larger than queue.payloadMaxBytes.',
  TooMany: 'At most 10,000 tasks are enqueued at a time.',
} as const
export type RefusalCode = keyof typeof refusals
const problemsSaidMax = 10

/** Of many that were to be enqueued some are, before the queue was full. */
export class PartlyEnqueued extends Error {
  override readonly name = 'PartlyEnqueued'
  /** In the order of the items; undefined for each that is not enqueued. */
  readonly replies: readonly (Enqueued | undefined)[]

  constructor(replies: readonly (Enqueued | undefined)[]) {
    super(`of ${replies.length} tasks ${replies.filter(reply => reply !== undefined).length} are enqueued, the others are not`)
    this.replies = replies
  }
}

export const queueErrors = defineErrors({
  QueueUnavailable: ['Unavailable', 'The queue cannot be reached, or takes no writes.'],
  UnknownQueue: ['InvalidArgument', 'No role works this queue; name one that some role works.'],
  CursorInvalid: ['InvalidArgument', 'This cursor is none that a step before has said.'],
  TaskNotFound: ['NotFound', 'There is no such task: it is done and not kept, or was never there.'],
  TaskNotDead: ['FailedPrecondition', 'The task is no dead letter: it is on its way by itself, or done.'],
  TaskInvalid: ['Unprocessable', 'The task cannot be enqueued so; mend what is said of its fields.'],
  TaskActive: ['FailedPrecondition', 'The task is being worked on; cancel it first.'],
  TaskNotMoved: [
    'FailedPrecondition',
    'The task runs, has ended, or is tied to others; or its id, or its unique key, is known in that queue. Look at it to see which.',
  ],
  TaskNotEnded: ['Timeout', 'The task has not ended yet.'],
  TooManyWaits: ['Unavailable', 'So many tasks are waited for already; try again later.'],
  QueueFull: ['Unavailable', 'The queue has as many tasks as it may have; try again later.'],
})
