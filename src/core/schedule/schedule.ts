import type { Task } from '../queue/task'

/**
 * A task that is enqueued at each tick of a clock: `cleanup` at 03:00 in Berlin. One that modules declare is fixed by the code; others are rows
 * that operators change while everything runs. Each tick is fired once, however many processes fire. What is promised is in docs/scheduler.md.
 */
export interface Schedule<P = unknown> extends ScheduleRules {
  /** Stable, since what is known of its ticks is found by it: small letters, digits, `.` and `-`, beginning with a letter, at most 64. */
  readonly name: string
  readonly task: Task<P>
  readonly payload: P
}
// biome-ignore lint/suspicious/noExplicitAny: a list of schedules holds payloads of every type
export type AnySchedule = Schedule<any>

export interface ScheduleRules {
  /** Five fields, or six with seconds first, or a nickname such as `@daily`. */
  readonly cron: string
  /** By its IANA name. */
  readonly timeZone: string
  readonly overlap: Overlap
  readonly catchUp: CatchUp
  /** Ticks that were missed longer ago are never caught up with. 1–31,536,000,000 ms (a year). */
  readonly catchUpWindowMs: number
  /** Each tick is fired up to so much later, 0–3,600,000 ms, by an amount that the schedule and the tick decide. */
  readonly jitterMs: number
}

/**
 * What a tick does while the task of an earlier one has not ended: `allow` enqueues beside it, `skip` lets the tick be, `bufferOne` enqueues as
 * soon as that has ended, the last such tick only, `cancelOther` cancels it and enqueues.
 */
export type Overlap = (typeof overlaps)[number]
export const overlaps = ['allow', 'skip', 'bufferOne', 'cancelOther'] as const

/**
 * What becomes of ticks that nobody fired within `graceMs`: `none` are caught up with, the `latest`, or `all`, of which the newest `limit` count, 1–1000.
 */
export type CatchUp = 'none' | 'latest' | { readonly all: number }
export const catchUpMax = 1000

/** A tick that is no later is fired as if it were on time, whatever `catchUp` says. */
export const graceMs = 60_000

export const scheduleDefaults = {
  timeZone: 'UTC',
  overlap: 'skip',
  catchUp: 'latest',
  catchUpWindowMs: 86_400_000,
  jitterMs: 0,
} as const satisfies Omit<ScheduleRules, 'cron'>

/** Declares a schedule in code. What is wrong with it is said when a process starts that fires it. */
export const defineSchedule = <P>(
  name: string,
  task: Task<P>,
  payload: P,
  rules: Pick<ScheduleRules, 'cron'> & Partial<ScheduleRules>,
): Schedule<P> => ({ ...scheduleDefaults, ...rules, name, task, payload })

/** The id of the task of a tick: a tick that is fired again, after a crash, has the same. */
export const tickTaskId = (scheduleId: string, tickMs: number): string => `schedule:${scheduleId}:${tickMs}`

/** In the headers of a task that a schedule enqueued: its name, and the tick as an RFC 3339 instant in UTC, whenever it was fired. */
export const scheduleHeaders = { name: 'schedule', tick: 'schedule-tick' } as const
