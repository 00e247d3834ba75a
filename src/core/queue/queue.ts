import type { Database } from '../database'
import { defineErrors } from '../error'
import type { Priority, Task, TaskDefaults } from './task'

/**
 * Work for later. What is accepted is done at least once: a task whose `enqueue` has resolved survives every process, and every
 * attempt that is lost is made again. What is promised, and what is not, is in docs/queue.md.
 */
export interface Queue {
  /**
   * @throws InvalidArgument, Unprocessable or TooLarge for what can never be enqueued, Unavailable when the queue cannot be reached or refuses writes: then nothing was enqueued, or, when no answer came, the same
   * call with the same `id` is safe to repeat
   */
  enqueue<P>(task: Task<P>, payload: P, options?: EnqueueOptions): Promise<Enqueued>
  /** Many of one task, up to 10,000, in one go. Either all are refused or each has its reply, in their order. Throws like `enqueue`. */
  enqueueMany<P>(task: Task<P>, items: readonly EnqueueItem<P>[], options?: { tx?: Database }): Promise<Enqueued[]>
}

export interface Enqueued {
  id: string
  /**
   * `enqueued`: it is there, or commits with the transaction. `duplicate`: a task with this id is there already, or has been in the
   * last 24 hours. `unique`: another task with this unique key is there, and `id` is that one's. Neither is an error, and nothing
   * was enqueued. In a transaction on MySQL duplicates are found out later, when the task is handed to Redis, and dropped there.
   */
  status: 'enqueued' | 'duplicate' | 'unique'
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
  priority?: Priority
  /** While a task with the same unique key waits or runs, but for so many milliseconds at most, another is not enqueued. 1–31,536,000,000. */
  uniqueFor?: number
  /** What is unique; the task's name and payload when absent. 1–1000 characters. */
  uniqueKey?: string
  /** An RFC 3339 instant after which it is not started any more, and a running attempt is aborted; it becomes a dead letter. */
  deadline?: string
  /** Handed to the handler: at most 16, of 1 KiB together. Names in lower case. */
  headers?: Readonly<Record<string, string>>
}

export type EnqueueItem<P> = Omit<EnqueueOptions, 'tx'> & { payload: P }

export const queueErrors = defineErrors({
  UnknownTask: ['InvalidArgument', 'No module of this process declares this task.'],
  UnknownQueue: ['InvalidArgument', 'No role works this queue.'],
  OptionInvalid: ['InvalidArgument', 'An option of the task is out of range.'],
  PayloadInvalid: ['Unprocessable', 'The payload does not fit the schema of its task.'],
  PayloadTooLarge: ['TooLarge', 'The payload is larger than queue.payloadMaxBytes.'],
  TooMany: ['TooLarge', 'At most 10,000 tasks are enqueued at a time.'],
  QueueUnavailable: ['Unavailable', 'The queue cannot be reached, or takes no writes.'],
  TaskNotFound: ['NotFound', 'There is no such task.'],
  TaskNotDead: ['FailedPrecondition', 'The task is no dead letter.'],
  TaskActive: ['FailedPrecondition', 'The task is being worked on; cancel it first.'],
})
