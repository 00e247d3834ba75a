import type { Database } from '../database'
import { defineErrors } from '../error'
import type { ScheduleRules } from './schedule'

/** Told what becomes of a schedule, in the transaction that does it, as its last statement; not when nothing changes. What it throws undoes the change. */
export type ScheduleNote = (tx: Database, change: ScheduleChanged) => Promise<void>
export interface ScheduleChanged {
  id: string
  /** Absent of one that is made now. */
  before?: ScheduleView
  /** Absent of one that is removed now. */
  after?: ScheduleView
}

/**
 * What operators do with schedules: the command line and the admin API. What they change takes effect in all processes within two seconds.
 * Whoever keeps account of changes says `note`.
 */
export interface ScheduleAdmin {
  /** In the order of their names. @returns at most `pageSize`, 50 when it is not said and never more than 1000 */
  list(options?: { pageSize?: number; pageToken?: string }): Promise<SchedulePage>
  /** @param which id or name. @throws ScheduleNotFound */
  get(which: string): Promise<ScheduleView>
  /** Checks all that `create` does, and saves nothing. @returns when it would be fired next, RFC 3339 in UTC; fewer than `count` when it ends. @throws ScheduleInvalid */
  preview(definition: ScheduleDefinition, count?: number): Promise<string[]>
  /** @throws ScheduleInvalid with all that is wrong, ScheduleNameTaken */
  create(definition: ScheduleDefinition, note?: ScheduleNote): Promise<ScheduleView>
  /**
   * What it fires next is computed anew from now, and what was missed before is missed.
   * @param version that it must have still. @throws ScheduleNotFound, ScheduleInvalid, ScheduleNameTaken, ScheduleChanged, ScheduleInCode
   */
  update(which: string, change: Partial<ScheduleDefinition>, version?: number, note?: ScheduleNote): Promise<ScheduleView>
  /** Tasks that it has enqueued stay. @throws ScheduleNotFound, ScheduleChanged, ScheduleInCode while a running version of the code declares it */
  remove(which: string, version?: number, note?: ScheduleNote): Promise<void>
  /** Its ticks pass by until it is resumed, and are not missed. Also of one in code. @throws ScheduleNotFound */
  pause(which: string, note?: ScheduleNote): Promise<ScheduleView>
  resume(which: string, note?: ScheduleNote): Promise<ScheduleView>
  /** Enqueues its task now, besides its ticks, whether it is paused or not, and whatever runs. @throws ScheduleNotFound */
  run(which: string, note?: (tx: Database, run: { id: string; name: string; taskId: string }) => Promise<void>): Promise<{ taskId: string }>
  /** What became of its last ticks, the newest first. @throws ScheduleNotFound */
  history(which: string, options?: { pageSize?: number; pageToken?: string }): Promise<TickPage>
}

/** As people say it; what is absent is as in `scheduleDefaults`. */
export interface ScheduleDefinition extends Partial<ScheduleRules> {
  name: string
  cron: string
  /** Of a task that some module declares. */
  task: string
  /** As the task has it; `{}` when absent. */
  payload?: unknown
}

export interface ScheduleView extends ScheduleRules {
  id: string
  name: string
  task: string
  payload: unknown
  /** `code` when a module declares it: it is changed there. */
  origin: 'code' | 'database'
  isPaused: boolean
  /** The next five, of one that is not paused. RFC 3339 in UTC, without jitter. */
  next: string[]
  /** The last tick that was fired. */
  lastTick?: string
  /** How many ticks were never fired, since it is there. */
  missed: number
  createdAt: string
  updatedAt: string
  version: number
}

export interface SchedulePage {
  items: ScheduleView[]
  nextPageToken?: string
}

export interface TickPage {
  items: TickView[]
  nextPageToken?: string
}

/** Of each schedule the last so many are kept. */
export const ticksKeptMax = 100

export interface TickView {
  /** The nominal time, RFC 3339 in UTC. */
  tick: string
  /**
   * `fired`: its task is enqueued. `caughtUp`: so, after it had been missed. `skipped`: an earlier one had not ended. `buffered`: it waits for that.
   * `missed`: nobody fired it; `count` says how many there were from this one on. `manual`: somebody ran it.
   */
  what: 'fired' | 'caughtUp' | 'skipped' | 'buffered' | 'missed' | 'manual'
  /** Of missed ones, 1 for others; up to 1,000, which is then as many or more. */
  count: number
  /** When that was decided. */
  at: string
  /** How much later than the tick, without jitter. */
  lateMs: number
  taskId?: string
  /** How its task has ended; `pending` until it has, `unknown` when that was never seen. */
  outcome?: 'pending' | 'done' | 'dead' | 'cancelled' | 'unknown'
}

export const scheduleErrors = defineErrors({
  ScheduleNotFound: ['NotFound', 'There is no such schedule.'],
  ScheduleInvalid: ['Unprocessable', 'The schedule cannot be so.'],
  ScheduleNameTaken: ['Conflict', 'Another schedule has this name.'],
  ScheduleChanged: ['Aborted', 'The schedule was changed meanwhile; read it again.'],
  ScheduleInCode: ['FailedPrecondition', 'The schedule is declared in code, where it is changed; it can be paused and run.'],
})
