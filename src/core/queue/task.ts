import type { Log } from '../log'
import { type Static, type TSchema, validatorOf } from '../schema'
import { byHandFault, type Check, defaultChecks, faultsAmong, groupDefaults, groupFault, namePattern } from './checks'
import { type Limit, limitFault } from './limit'

/**
 * A kind of work that is done later, elsewhere, and again when it fails: `email.send`. Declared once, beside its schema; whoever
 * enqueues it and whoever handles it share the declaration, so the payload means the same on both sides.
 */
export interface Task<P = unknown> {
  /** Stable, since waiting tasks are found by it: `noun.verb`. */
  readonly name: string
  readonly schema: TSchema
  readonly defaults: Required<TaskDefaults>
  readonly rules: TaskRules
  /** @returns what is wrong with a payload, without its values; undefined when it fits */
  readonly check: (payload: unknown) => string | undefined
  /** Only in the types: what its payload is. */
  readonly payload?: P
}
// biome-ignore lint/suspicious/noExplicitAny: a list of tasks holds tasks of every payload
export type AnyTask = Task<any>

/** 0 is first, 9 last; strictly: while a task of a lower number waits, none of a higher one starts. */
export type Priority = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9

/** Each may be said anew when a task is enqueued. */
export interface TaskDefaults {
  /** One of the queues that some role works. `default` by default. */
  queue?: string
  /** 5 by default. */
  priority?: Priority
  /** How often it may fail and be tried again, 0–1000. 20 by default, which with the default backoff takes about ten hours. */
  maxRetries?: number
  backoff?: Backoff
  /** How long one attempt may take, 1–86,400,000 ms; then its signal aborts. 600,000 (10 minutes) by default. */
  timeoutMs?: number
  /** How long a task that is done stays, with its result, so that it can be looked at, 0–2,592,000,000 ms (30 days). 0 by default: nothing is left of it. */
  keepForMs?: number
}

/** What a declaration says besides, and nobody says anew. */
export interface TaskRules {
  /** The limit it is under, which it shares with every task that names the same. */
  limit?: Limit
  /** Makes one task of many: see `GroupRule` and `handleGroup`. */
  group?: GroupRule
  /**
   * What an administrator needs to enqueue it over HTTP, or to have a schedule do so, besides the permission for that: the one that guards what it
   * does, such as `users:export`. `never`: it is for code alone. When absent, anybody may who may enqueue.
   */
  byHand?: 'never' | `${string}:${string}`
}

/**
 * What is enqueued with the same `group` is collected into one task, which starts when one of these is reached: so many, so large, nothing new
 * for `delayMs`, or `delayMaxMs` after the first.
 */
export interface GroupRule {
  /** 1–1,000. 100 by default. */
  countMax?: number
  /** Of what is kept of them together, payloads with their headers, 1–1,048,576. 262,144 (256 KiB) by default. One that is larger is alone. */
  bytesMax?: number
  /** 1–86,400,000. 1,000 by default. */
  delayMs?: number
  /** delayMs–86,400,000. 10,000 by default, and `delayMs` when that is more. */
  delayMaxMs?: number
}

export function groupRuleOf({ countMax, bytesMax, delayMs = groupDefaults.delayMs, delayMaxMs }: GroupRule): Required<GroupRule> {
  return {
    countMax: countMax ?? groupDefaults.countMax,
    bytesMax: bytesMax ?? groupDefaults.bytesMax,
    delayMs,
    delayMaxMs: delayMaxMs ?? Math.max(delayMs, groupDefaults.delayMaxMs),
  }
}

/** The wait before retry n is `minMs × factor^(n−1)`, at most `maxMs`, and up to a fifth more or less, so that what failed together does not come back together. */
export interface Backoff {
  /** 0–86,400,000. 1,000 by default. */
  minMs: number
  /** minMs–86,400,000. 3,600,000 (1 hour) by default. */
  maxMs: number
  /** 1–10. 2 by default. */
  factor: number
}

export const taskDefaults: Required<TaskDefaults> = {
  queue: 'default',
  priority: 5,
  maxRetries: 20,
  backoff: { minMs: 1000, maxMs: 3_600_000, factor: 2 },
  timeoutMs: 600_000,
  keepForMs: 0,
}

const nameMax = 64

const ruleChecks: Record<keyof TaskRules, Check> = { limit: limitFault, group: groupFault, byHand: byHandFault }

/**
 * @throws Error when the name is not `noun.verb`-like: letters, digits and single `.`, `_`, `-`, at most 64 characters; or when a
 * default or a rule is out of range: it would be found out by each task, and by a store half-way
 */
export function defineTask<S extends TSchema>(name: string, schema: S, said: TaskDefaults & TaskRules = {}): Task<Static<S>> {
  const { limit, group, byHand, ...defaults } = said
  if (!namePattern.test(name) || name.length > nameMax)
    throw new Error(`the task name ${JSON.stringify(name)} is not like 'email.send': letters, digits and . _ -, at most ${nameMax}`)
  const faults = faultsAmong(said, { ...defaultChecks, ...ruleChecks }).map(({ pointer, detail }) => `${pointer} ${detail}`)
  if (faults.length > 0) throw new Error(`the task ${name} cannot be declared so: ${faults.join('; ')}`)
  const own = Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined))
  const rules = { ...(limit && { limit }), ...(group && { group }), ...(byHand && { byHand }) }
  return { name, schema, defaults: { ...taskDefaults, ...own }, rules, check: validatorOf(schema) }
}

/** What a handler knows of the task it works on. */
export interface TaskContext {
  readonly id: string
  readonly queue: string
  /** From 1, and one more with each start, whatever ended the one before. */
  readonly attempt: number
  /** How often it has failed so far; crashes of workers are not counted. */
  readonly failures: number
  /** What was handed on when it was enqueued, with `traceparent` (W3C Trace Context) and `x-request-id` when there were any. */
  readonly headers: Readonly<Record<string, string>>
  /** Of which schedule it is, by its name, and for when it was due, an RFC 3339 instant in UTC. Undefined when no schedule has enqueued it. */
  readonly tick?: { readonly schedule: string; readonly at: string } | undefined
  /** An RFC 3339 instant in UTC. */
  readonly enqueuedAt: string
  /**
   * Aborts with a `TaskAborted` when the work is to end. What succeeds within ten seconds is done all the same; a handler that goes
   * on for longer changes nothing in the queue any more, and keeps its slot until it ends.
   */
  readonly signal: AbortSignal
  /** Writes the task's id, name and attempt with each line. */
  readonly log: Log
  /**
   * Says how far it is, for whoever looks, and what the next attempt is to go on from. Costs little: the last of each second is written, and the
   * last before the attempt ends. A process that dies takes with it what was said since.
   * @throws RangeError when it is more than 4 KiB of JSON, or JSON cannot say it
   */
  progress(progress: Progress): void
  /**
   * Writes what `progress` was told last, now: when it has resolved, no crash loses it. While the queue is away it waits for it.
   * @throws TaskAborted when the attempt is to end, or the task is somebody else's by now
   */
  saveProgress(): Promise<void>
  /** What an attempt before this one has said last; undefined when none has. To be asked before this one says anything. Throws like `saveProgress`. */
  lastProgress(): Promise<Progress | undefined>
  /** How the tasks ended that this one was held for, of a chain or a batch; at most 100, with their results. Else an empty list. */
  before(): Promise<EndedTask[]>
}

/** How far a task is. 4 KiB of JSON together. */
export interface Progress {
  done?: number
  total?: number
  /** For people. */
  message?: string
  /** For the next attempt: from where to go on. */
  state?: unknown
}

/** How a task has ended. */
export interface EndedTask {
  id: string
  outcome: 'done' | 'dead' | 'cancelled'
  /** What its handler returned with `result`, when it is done and that is kept. */
  result?: unknown
  /** The last error of a dead one. */
  error?: string
}

/**
 * Why a running attempt is to end. `timeout`: it took longer than it may; it counts as a failure. `leaseLost`: the queue has given
 * the task to somebody else. `cancelled`: somebody asked for it; there is no retry. `shutdown`: the process stops; the task waits
 * for another, and nothing is counted.
 */
export type AbortReason = 'timeout' | 'leaseLost' | 'cancelled' | 'shutdown'

export class TaskAborted extends Error {
  override readonly name = 'TaskAborted'
  readonly reason: AbortReason

  constructor(reason: AbortReason) {
    super(`the task was aborted: ${reason}`)
    this.reason = reason
  }
}

/** What a handler may return besides nothing, which is success. Anything it throws is a failure, and retried. */
export type TaskResult =
  | { readonly is: 'snooze'; readonly delayMs: number }
  | { readonly is: 'giveUp'; readonly reason: string }
  | { readonly is: 'result'; readonly value: unknown }

/** Success, with something for whoever waits for it, or comes next in a chain. At most 64 KiB of JSON. Kept for `keepForMs` of the task. */
export const result = (value: unknown): TaskResult => ({ is: 'result', value })

/** Not now: run it again after so long, 0–31,536,000,000 ms. Counts as no failure. */
export const snooze = (delayMs: number): TaskResult => ({ is: 'snooze', delayMs })

/** Not ever: retrying cannot help. The task becomes a dead letter at once. */
export const giveUp = (reason: string): TaskResult => ({ is: 'giveUp', reason })

// biome-ignore lint/suspicious/noConfusingVoidType: most handlers are async functions that return nothing
export type Work<P> = (payload: P, context: TaskContext) => Promise<TaskResult | void>

/** A task with what does it: one entry of a module's `tasks` face. */
export interface TaskHandler {
  readonly task: AnyTask
  readonly work: Work<never>
  /** It is given the payloads of a group. */
  readonly isOfGroups: boolean
}

export const handle = <P>(task: Task<P>, work: Work<P>): TaskHandler => ({ task, work: work as Work<never>, isOfGroups: false })

/**
 * Of a task with a rule for groups: `work` is given the payloads of one group, in the order in which they came; one enqueued without a group is
 * a group of one. A group is one task: it has one id, and what the handler throws or returns holds for all of it. When one of the payloads
 * does not fit the schema any more, the group becomes a dead letter as it is, which says which one.
 */
export const handleGroup = <P>(task: Task<P>, work: Work<readonly P[]>): TaskHandler => ({
  task,
  work: work as Work<never>,
  isOfGroups: true,
})

/**
 * Around each attempt, of whichever task of a role: `next` runs what is within, the handler last, and says what it returned. The first that is listed
 * is outermost. What it throws is a failure of the attempt. One that does not call `next` answers in the place of the handler, with `giveUp`, `snooze`
 * or `result`; to return nothing then is a failure too, since the task would be done though nobody has done it. Calling `next` twice throws.
 */
export type TaskMiddleware = (attempt: Attempt, next: () => Promise<TaskResult | undefined>) => Promise<TaskResult | undefined>
export interface Attempt {
  readonly task: AnyTask
  /** What the handler is given. */
  readonly payload: unknown
  readonly context: TaskContext
}
