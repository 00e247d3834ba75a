import type { FsckFinding, QueueStats, TaskError, TaskState } from '@/core/queue/admin'
import { dayMs } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Enqueued } from '@/core/queue/queue'
import type { Seen } from './latency'

/**
 * Where tasks are kept: Redis lists or SQLite, with the same calls and the same replies. A driver knows envelopes as text, and
 * decides nothing that is not in its arguments: schemas, backoff, and what a failure means are its callers' business.
 *
 * Every call may be repeated when its reply was lost, with the same arguments: it does then what it would have done once.
 * Time is the server's (Redis TIME; on SQLite the clock of the machine): durations go in, never instants.
 * @throws AppError QueueUnavailable from every call when the store cannot be reached, refuses writes or does not answer in time
 */
export interface QueueDriver {
  /** Replies are in the order of `tasks`, at most 1000. */
  enqueue(queue: string, tasks: readonly NewTask[], options?: EnqueueRule): Promise<EnqueueReply[]>
  /** Says how attempts ended, then takes new tasks, in one step. Either part may be absent. At most 1000 of each. */
  exchange(queue: string, exchange: Exchange): Promise<ExchangeReply>
  /** Prolongs leases to now + `leaseMs`; never shortens one. At most 500. */
  beat(queue: string, leaseMs: number, held: readonly Held[]): Promise<BeatReply>
  /** Takes tasks from workers whose lease has ended, at most 100 a call. Called by every worker; who comes second finds nothing. */
  reap(queue: string, rule: ReapRule): Promise<ReapReply>

  /** Keeps what attempts say of how far they are, a text of at most 4 KiB each, at most 100. @returns of each whether it is still its own */
  report(queue: string, reports: readonly (Held & { progress: string })[]): Promise<boolean[]>
  /** How the tasks have ended that this one is, or was, held for; at most 100. */
  before(queue: string, id: string): Promise<Ended[]>
  /** What has become of tasks, without what they are about, at most 100. In the order of `ids`; undefined of one that is not there. */
  peek(queue: string, ids: readonly string[]): Promise<(PeekedTask | undefined)[]>
  /**
   * Calls `ended` with the id of each task that ends in any process and leaves something to be looked at (done and kept, or dead), once or
   * twice; and `missed` when words may have been lost, as before it has begun to listen: then whoever waits looks. @returns what ends it
   */
  watchEnds(queue: string, listener: EndListener): () => void

  /** From when it returns nothing of the queue is started, in any process; what runs goes on. */
  pause(queue: string): Promise<void>
  resume(queue: string): Promise<void>

  /** What operators do, to at most 100 at a time. Answers are in the order of `ids`; one that could not be done does not keep the others from it. What is `done` or `dead` stays as it is. */
  cancel(queue: string, ids: readonly string[]): Promise<CancelAnswer[]>
  /** Dead → waiting, failures and crashes from 0, errors and progress kept. What is done and kept is `alive` here: it is no dead letter. It has its unique key again, for `forMs` from now, unless another has it. */
  retry(queue: string, ids: readonly string[]): Promise<RetryAnswer[]>
  remove(queue: string, ids: readonly string[]): Promise<RemoveAnswer[]>
  /** Waiting or scheduled → dead, with an error noted and no failure counted. Its unique key is free. */
  bury(queue: string, letters: readonly Letter[]): Promise<BuryAnswer[]>
  show(queue: string, id: string): Promise<StoredTask | undefined>
  /** In the order in which they would be worked, but for the turns of lanes; dead ones newest first. @param cursor what the page before said */
  list(queue: string, state: TaskState, count: number, cursor?: string): Promise<{ tasks: StoredTask[]; cursor?: string }>
  stats(queue: string): Promise<Omit<QueueStats, 'queue'>>
  /** How it was in the last hour, newest first: reapers take note of it, at most each ten seconds. */
  history(queue: string): Promise<Snapshot[]>
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

export type CancelAnswer = 'cancelled' | 'cancelling' | 'done' | 'dead' | 'absent'
export type RetryAnswer = 'retried' | 'alive' | 'absent'
export type RemoveAnswer = 'removed' | 'active' | 'absent'

/** `unfit`: it is done, or it is, or was, held for the end of others, or another for its end. */
export type BuryAnswer = 'buried' | 'dead' | 'active' | 'unfit' | 'absent'

/** What a task is to be buried with. */
export interface Letter {
  id: string
  error: string
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
  /** Its limit and key, `<limit>` or `<limit>/<key>`; at most 128 characters, of those of ids. Waits in a line of its own: see `LaneLimits`. */
  lane?: string
  /**
   * Collects: while there is a task of this key that has never been started, is not full and not due, this one's envelope is added to that one's,
   * after a line feed, and that is the one there is. `bytesMax` is of the envelopes together. 22 characters of a digest.
   * It starts `delayMs` after the last came and at most `delayMaxMs` after the first, as was said then; at once when it is full, or when one comes that
   * would make it larger: that one opens another. Those that are kept are remembered from when they are added; others, said in another call,
   * are added again. Goes with neither `delayMs` of its own, `unique`, `after` nor `follower`.
   */
  group?: { key: string; countMax: number; bytesMax: number; delayMs: number; delayMaxMs: number }
  /**
   * It is held until so many tasks that name it as their `follower` have ended; then it waits, or is scheduled `delayMs` from then. They may end
   * before it comes. With `isDoneNeeded` only those count that are done: a dead letter keeps it waiting, a cancelled or removed one cancels it, too.
   */
  after?: { count: number; isDoneNeeded: boolean }
  /** The task, of the same queue, that is told how this one ended; with its result when it wants that. */
  follower?: { id: string; wantsResult: boolean }
  envelope: string
}

export interface EnqueueRule {
  /** On SQLite: makes it part of this transaction. Drivers that cannot, throw. */
  tx?: Database | undefined
  /**
   * While so many wait, are scheduled or held, what comes is `full`, and not enqueued. Checked once for all that are enqueued in one call. One whose
   * id, or unique key, is taken is replied to as ever, so that a call whose reply was lost may be repeated, and who hears `full` knows
   * that its task is not there and has not been.
   */
  backlogMax?: number | undefined
}

/** `id` is the task's own, except with `unique` and `joined`: then the other's. */
export type EnqueueReply = Enqueued | { id: string; status: 'full' }

/** How a task ended that another was held for. */
export interface Ended {
  id: string
  outcome: 'done' | 'dead' | 'cancelled'
  result?: string
}

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
  limits?: ClaimLimits
}

/** What the claimer may not exceed, with all others together. After a claim with other limits than the one before, the lanes held back are looked at again, some by each claim. */
export interface ClaimLimits {
  /** How many of the queue may be active. */
  concurrency?: number
  rate?: RateLimit
  /** Of each lane, by the name of its limit, which is what its name begins with. A lane whose limit is not here has none, but its turn. */
  lanes: Readonly<Record<string, { concurrency?: number; rate?: RateLimit }>>
}

/**
 * Generic cell rate algorithm (ATM Forum TM 4.0, as in ITU-T I.371): a start moves the theoretical arrival time on by `intervalMs`, and may be
 * `burst − 1` intervals before it. `intervalMs` may have fractions. On SQLite, whose clock has whole ms, those of one may start together.
 */
export interface RateLimit {
  intervalMs: number
  burst: number
}

/**
 * `done`, `dead` and `cancelled` end the task; dead ones are kept. `retry` counts a failure, `snooze` and `release` count nothing.
 * `release` puts it to the head of its line. A task that was cancelled meanwhile ends as cancelled, whatever is said but `done`.
 */
export type Finish = Held &
  (
    | { outcome: 'release' | 'cancelled' }
    /** @param keepForMs how long it stays, with its result; 0 or absent: nothing is left of it. @param result at most 64 KiB, also for its follower */
    | { outcome: 'done'; keepForMs?: number; result?: string }
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
  /**
   * How long until the next scheduled task, or the next of a rate, may start; absent when there is none, or only what waits for others to end: who
   * ends them wakes. 0 when there may be more to claim at once.
   */
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
  /** Dead letters that are older are removed, as are done ones when their time is over, at most 100 of each a call; never when absent. */
  keepDeadMs?: number
  /** What the caller's process has seen since it said so last; said twice it counts twice. */
  seen?: Seen
}

/** What was counted so long ago, and what was seen from then until the snapshot after it. */
export interface Snapshot {
  agoMs: number
  total: QueueStats['total']
  seen: Seen
}

export interface ReapReply {
  /** Ids that wait again. */
  again: string[]
  /** Ids that have become dead letters. */
  poisoned: string[]
  /** How many were removed since their time was over: kept ones that are done, and dead letters. */
  expired?: { done: number; dead: number }
  /** There may be more. */
  more: boolean
  /** The store may have come back with less than it had, or half of something: whoever is told so runs `fsck`. */
  isCheckDue?: boolean
}

/** Who wants to know of ends. */
export interface EndListener {
  ended(id: string): void
  missed(): void
}

export interface PeekedTask {
  /** Absent while it has not ended. */
  outcome?: 'done' | 'dead'
  result?: string
  /** The last, of a dead one. */
  error?: string
  progress?: string
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
  /** Milliseconds since 1970: when it may start (scheduled), until when its worker has it (active), when it ended (dead), until when it is kept (done). */
  atMs?: number
  lane?: string
  unique?: { key: string; forMs: number }
  progress?: string
  result?: string
  /** For how many others it is held still. */
  heldFor?: number
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
/** How many tasks `before` knows the results of. */
export const beforeMax = 100
/** So many characters of JSON, in UTF-8 bytes. */
export const resultMaxBytes = 65_536
export const progressMaxBytes = 4096
export const reportMax = 100
/** Ids in one call of an operator. */
export const operateMax = 100
const errorMaxChars = 1000
/** How the text of an error is kept: cut, and well-formed and without NUL, since neither half a character nor that can be stored everywhere. */
export const keptError = (text: string): string => text.slice(0, errorMaxChars).toWellFormed().replaceAll('\0', '�')
/** Between two snapshots of a queue, at least; how far back they go; and how many there are at most. */
export const snapshotEveryMs = 10_000
export const historyMs = 3_600_000
export const historyMax = 400
/** For so long an id is remembered after its task has ended. */
export const keptIdMs = dayMs
