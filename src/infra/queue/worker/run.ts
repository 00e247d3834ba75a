import { asCaller, type Caller } from '@/core/caller'
import { toTimestamp } from '@/core/clock'
import type { Log, LogLevel } from '@/core/log'
import {
  type AbortReason,
  type Backoff,
  type EndedTask,
  type Progress,
  type TaskContext,
  TaskAborted,
  type TaskHandler,
  type TaskResult,
} from '@/core/queue/task'
import { scheduleHeaders } from '@/core/schedule/schedule'
import type { Claimed, Held } from '../driver'
import type { Envelope } from '../envelope'
import type { TaskMeters } from './meters'
import type { Reports } from './progress'

/** What this process can do: a handler, and how its attempts are counted. */
export interface Skill extends TaskHandler {
  meters: TaskMeters
}

/** One attempt at a task, from its start to the end of its handler. */
export interface Run extends Held {
  readonly queue: string
  readonly skill: Skill
  readonly envelope: Envelope
  readonly failures: number
  readonly crashes: number
  readonly maxRetries: number
  readonly backoff: Backoff
  readonly timeoutMs: number
  /** How long it stays once it is done. */
  readonly keepForMs: number
  /** Those that were claimed with it. */
  readonly batch: Batch
  // From here on, instants are milliseconds of the monotonic clock.
  /** The deadline of the task, an instant of the calendar, as it was when it was claimed: what is left of it changes no more when clocks are set. */
  readonly deadlineAtMs: number
  startedAtMs: number
  /** When it must have ended: its timeout, or its deadline. */
  limitAtMs: number
  isAtDeadline: boolean
  /** When the last call was sent after which the queue said that it is still ours. */
  leaseFromMs: number
  /** Since when its lease seems to be over. */
  doubtedAtMs?: number
  abortedFor?: AbortReason
  abortedAtMs?: number
  /** The queue has been told how it ended, though its handler goes on. */
  isStuck: boolean
  /** Its handler has ended; the queue may not have been told yet. */
  isOver: boolean
  /** How far it is, as its handler said last: JSON. */
  progress?: string
  /** Made when somebody looks at the signal, which most handlers never do. */
  controller?: AbortController
}

export interface Batch {
  readonly nonce: string
  /** How many of it have not ended. */
  left: number
}

/** What is known of an attempt before it starts. */
export type NewRun = Pick<Run, 'queue' | 'skill' | 'envelope' | 'batch' | 'deadlineAtMs' | 'leaseFromMs'>

export function newRun(
  { id, attempt, failures, crashes }: Claimed,
  { queue, skill, envelope, batch, deadlineAtMs, leaseFromMs }: NewRun,
): Run {
  const { said } = envelope
  const { defaults } = skill.task
  return {
    id,
    attempt,
    nonce: batch.nonce,
    queue,
    skill,
    envelope,
    failures,
    crashes,
    maxRetries: said.maxRetries ?? defaults.maxRetries,
    backoff: said.backoff ?? defaults.backoff,
    timeoutMs: said.timeoutMs ?? defaults.timeoutMs,
    keepForMs: said.keepForMs ?? defaults.keepForMs,
    batch,
    deadlineAtMs,
    startedAtMs: 0,
    limitAtMs: 0,
    isAtDeadline: false,
    leaseFromMs,
    isStuck: false,
    isOver: false,
  }
}

/** What the context of a handler is made of, besides the attempt. */
export interface ContextTools {
  log: Log
  reports: Reports
  /** How those ended that it was held for. */
  before(run: Run): Promise<EndedTask[]>
}

/** Calls the handler, on behalf of whoever enqueued the task. What it throws, at once or later, comes back as a rejection. */
export function callHandler(run: Run, tools: ContextTools): Promise<TaskResult | undefined> {
  const { work } = run.skill
  try {
    // A handler without types may return what is no promise.
    return Promise.resolve(asCaller(callerOf(run), () => work(run.envelope.payload as never, contextOf(run, tools)))) as Promise<
      TaskResult | undefined
    >
  } catch (thrown) {
    return Promise.reject(thrown)
  }
}

/** Tells the handler to end. The first reason stands. */
export function abort(run: Run, reason: AbortReason, nowMs: number): void {
  run.abortedFor = reason
  run.abortedAtMs = nowMs
  run.controller?.abort(new TaskAborted(reason))
}

/** What each line of the log says of a task. */
export const logFields = ({ id, attempt, queue, skill, envelope }: Run) => ({
  task: skill.task.name,
  id,
  attempt,
  queue,
  requestId: envelope.headers['x-request-id'],
})

function callerOf({ envelope: { headers } }: Run): Caller {
  const caller: Caller = {}
  const requestId = headers['x-request-id']
  const traceparent = headers['traceparent']
  if (requestId !== undefined) caller.requestId = requestId
  if (traceparent !== undefined) caller.traceparent = traceparent
  return caller
}

/** What is seldom looked at is made when it is. */
function contextOf(run: Run, { log, reports, before }: ContextTools): TaskContext {
  let own: Log | undefined
  let last: Promise<Progress | undefined> | undefined
  return {
    id: run.id,
    queue: run.queue,
    attempt: run.attempt,
    failures: run.failures,
    progress: progress => reports.note(run, progress),
    saveProgress: () => reports.save(run),
    lastProgress() {
      last ??= reports.last(run)
      return last
    },
    before: () => before(run),
    headers: run.envelope.headers,
    get tick() {
      return tickOf(run.envelope.headers)
    },
    get enqueuedAt() {
      return toTimestamp(run.envelope.enqueuedAtMs)
    },
    get signal() {
      if (!run.controller) {
        run.controller = new AbortController()
        if (run.abortedFor) run.controller.abort(new TaskAborted(run.abortedFor))
      }
      return run.controller.signal
    },
    get log() {
      own ??= withFields(log, logFields(run))
      return own
    },
  }
}

function tickOf({ [scheduleHeaders.name]: schedule, [scheduleHeaders.tick]: at }: Envelope['headers']): TaskContext['tick'] {
  return schedule === undefined || at === undefined ? undefined : { schedule, at }
}

function withFields(log: Log, bound: object): Log {
  const line = (level: LogLevel) => (message: string, fields?: object) => log[level](message, { ...fields, ...bound })
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error'), enabled: level => log.enabled(level) }
}
