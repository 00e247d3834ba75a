import type { FsckFinding, QueueStats, TaskError, TaskState } from '@/core/queue/admin'
import { dayMs } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Enqueued } from '@/core/queue/queue'

/**
 * Where tasks are kept: Redis lists or SQLite, with the same calls and the same replies. A driver knows envelopes as text, and
 * decides nothing that is not in its arguments: schemas, backoff, and what a failure means are its callers' business.
 *
 * Every call may be repeated when its reply was lost, with the same arguments: it does then what it would have done once.
 * Time is the server's (Redis TIME; on SQLite the clock of the machine): durations go in, never instants.
 * @throws AppError QueueUnavailable from every call when the store cannot be reached, refuses writes or does not answer in time
 */
export interface QueueDriver {
  /**
   * Replies are in the order of `tasks`, at most 1000.
   * @param tx on SQLite: makes it part of this transaction. Drivers that cannot, throw
   */
  enqueue(queue: string, tasks: readonly NewTask[], tx?: Database): Promise<EnqueueReply[]>
  /** Says how attempts ended, then takes new tasks, in one step. Either part may be absent. At most 1000 of each. */
  exchange(queue: string, exchange: Exchange): Promise<ExchangeReply>
  /** Prolongs leases to now + `leaseMs`; never shortens one. At most 500. */
  beat(queue: string, leaseMs: number, held: readonly Held[]): Promise<BeatReply>
  /** Takes tasks from workers whose lease has ended, at most 100 a call. Called by every worker; who comes second finds nothing. */
  reap(queue: string, rule: ReapRule): Promise<ReapReply>

  cancel(queue: string, id: string): Promise<'cancelled' | 'cancelling' | 'dead' | 'absent'>
  /** Dead → waiting, failures and crashes from 0, errors kept. It has its unique key again, for `forMs` from now, unless another has it. */
  retry(queue: string, id: string): Promise<'retried' | 'alive' | 'absent'>
  remove(queue: string, id: string): Promise<'removed' | 'active' | 'absent'>
  show(queue: string, id: string): Promise<StoredTask | undefined>
  /** In the order in which they would be worked, dead ones newest first. @param cursor what the page before said */
  list(queue: string, state: TaskState, count: number, cursor?: string): Promise<{ tasks: StoredTask[]; cursor?: string }>
  stats(queue: string): Promise<Omit<QueueStats, 'queue'>>
  /** One step of the check, bounded to some milliseconds of the server. @returns where to go on; absent when it is done */
  fsck(
    queue: string,
    options: { fix: boolean; leaseMs: number; cursor?: string },
  ): Promise<{ findings: Omit<FsckFinding, 'queue'>[]; cursor?: string }>

  /**
   * Calls `wake` when there may be something to claim, in this process or another, also when that is a task whose time comes later:
   * who is idle learns only so that it is to be waited for. Calls `cancelled` when somebody cancels an active task. Words may get lost, so callers look by themselves now and then. @returns what ends it
   */
  watch(queue: string, listener: { wake(): void; cancelled(id: string): void }): () => void
  /** @throws QueueUnavailable when the next call would be refused */
  ping(): Promise<void>
  /** What is under way is finished or refused. */
  close(): Promise<void>
}

export interface NewTask {
  /** 1–128 printable ASCII characters without spaces and braces. */
  id: string
  /** An id that others may use again, who say so too: it is remembered for 24 hours after the task has ended. Others are random. */
  isIdKept: boolean
  /** 0–9, 0 first. */
  priority: number
  delayMs: number
  /** While the task lives, and at most `forMs` from when it was enqueued or retried, no other with this key is enqueued. 22 characters of a digest. */
  unique?: { key: string; forMs: number }
  envelope: string
}

/** `id` is the task's own, except with `unique`: then the other's. */
export type EnqueueReply = Enqueued

/** Which attempt: a number that grows, and whose it is. The nonce is of the claim, random, and makes a number that was lost and given again another. */
export interface Held {
  id: string
  attempt: number
  nonce: string
}

export interface Exchange {
  finish?: readonly Finish[]
  claim?: Claim
}

export interface Claim {
  /** The process, as people know it: `host:pid`. At most 64 characters. */
  worker: string
  /** 16 random characters, new with each claim: the same nonce again gets the same tasks again, not others. */
  nonce: string
  count: number
  leaseMs: number
}

/**
 * `done`, `dead` and `cancelled` end the task; dead ones are kept. `retry` counts a failure, `snooze` and `release` count nothing.
 * `release` puts it to the head of its line. A task that was cancelled meanwhile ends as cancelled, whatever is said but `done`.
 */
export type Finish = Held &
  (
    | { outcome: 'done' | 'release' | 'cancelled' }
    | { outcome: 'retry'; delayMs: number; error: string }
    | { outcome: 'snooze'; delayMs: number }
    /** @param isFailure whether it is counted as one, as what the handler threw is */
    | { outcome: 'dead'; error: string; isFailure: boolean }
  )

/** `ok` also when the same was said before. `stale`: the attempt is not its sender's any more, and nothing was changed. `gone`: there is no such task. */
export type FinishStatus = 'ok' | 'stale' | 'gone'

export interface ExchangeReply {
  /** In the order of `finish`. */
  finished: FinishStatus[]
  claimed: Claimed[]
  /** How long until the next scheduled task may start; absent when there is none. 0 when there may be more to claim at once. */
  nextDueMs?: number
}

export interface Claimed {
  id: string
  attempt: number
  failures: number
  crashes: number
  envelope: string
}

export interface BeatReply {
  /** Ids whose attempt is not its holder's any more. */
  lost: string[]
  /** Ids whose end somebody has asked for. */
  cancelled: string[]
}

export interface ReapRule {
  /** After a restart of the server, or when its clock has jumped, workers have so long to say that they are there. */
  leaseMs: number
  /** More crashes make a task a dead letter, with the error of `poisonError`. The first crash is tried again at once, the others after `2^crashes` s. */
  crashesMax: number
}

export interface ReapReply {
  /** Ids that wait again. */
  again: string[]
  /** Ids that have become dead letters. */
  poisoned: string[]
  /** There may be more. */
  more: boolean
  /** The store may have come back with less than it had, or half of something: whoever is told so runs `fsck`. */
  isCheckDue?: boolean
}

/** A task as it is stored; what is absent is not known of it in its state. */
export interface StoredTask {
  id: string
  state: TaskState
  priority: number
  /** Undefined when it is gone, or was damaged. */
  envelope: string | undefined
  attempt: number
  failures: number
  crashes: number
  isCancelled: boolean
  worker?: string
  /** Milliseconds since 1970: when it may start (scheduled), until when it is held (active), when it ended (dead). */
  atMs?: number
  errors: TaskError[]
}

/** The store is away, full, busy or too slow. Anything else that a driver throws is the fault of what it was told, or ours: the same call would fail again. */
export const isPassing = (thrown: unknown): boolean =>
  thrown instanceof AppError && (thrown.kind === 'Unavailable' || thrown.kind === 'Timeout')

/** What a dead letter says that no worker has survived. */
export const poisonError = (crashes: number): string => `poison: ${crashes} workers did not survive it`

/** How many ids one line of the log names. */
export const idsLoggedMax = 20
export const exchangeMax = 1000
export const enqueueMax = 1000
export const beatMax = 500
export const reapMax = 100
export const errorsMax = 10
const errorMaxChars = 1000
/** How the text of an error is kept: cut, and well-formed and without NUL, since neither half a character nor that can be stored everywhere. */
export const keptError = (text: string): string => text.slice(0, errorMaxChars).toWellFormed().replaceAll('\0', '�')
/** For so long an id is remembered after its task has ended. */
export const keptIdMs = dayMs
