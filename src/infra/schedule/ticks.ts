import { graceMs, type ScheduleRules } from '@/core/schedule/schedule'
import { type Cron, cronOf } from '../cron'

/**
 * Which ticks of a schedule to fire now, which to let be, and when to look again. All of it follows from what is given, so every process says the same.
 *
 * A tick is due when its jitter has passed, which is before the tick after it: ticks are due in their order. One that is due for longer than `graceMs` is
 * missed, and those come before all others; `catchUp` says which of them, the newest ones, are fired all the same.
 */
export interface Decision {
  /** To be fired, in order; no more than 62 that were not missed. */
  ticks: DecidedTick[]
  /** Those before them that nobody fires any more, from the first to the last. `isMore`: they are more than `count`, which is `missedCountMax` then. */
  missed?: MissedTicks
  /** All ticks up to it are decided; as before when none is. */
  cursorMs: number
  /** When the first tick that is not decided is due; null when none comes any more. */
  nextAtMs: number | null
}

export interface DecidedTick {
  tickMs: number
  /** It was missed. */
  isCaughtUp: boolean
  /** With its jitter. What it is late by is counted from here. */
  dueMs: number
}

export interface MissedTicks {
  fromMs: number
  toMs: number
  count: number
  isMore: boolean
}

export interface DecisionInput {
  scheduleId: string
  rules: ScheduleRules
  /** All ticks up to it are decided. After a clock was set back it may be ahead of `nowMs`: nothing is fired twice. */
  cursorMs: number
  nowMs: number
}

/** A schedule of each second that has rested for a day has missed 86,400: so many are counted, and no more looked at. */
export const missedCountMax = 1000

/** @throws RangeError when the expression or the zone is none, as in a row of another version */
export function decide(input: DecisionInput): Decision {
  const { cursorMs, nowMs, rules } = input
  const cron = cronOf(rules.cron, rules.timeZone)
  const first = cron.after(cursorMs)
  const missed = first === undefined ? undefined : missedFrom(input, cron, first)
  const ticks: DecidedTick[] = []
  let decidedMs = missed?.newest.at(-1) ?? cursorMs
  let nextAtMs: number | null = null
  for (let tickMs = missed ? cron.after(decidedMs) : first; tickMs !== undefined; tickMs = cron.after(tickMs)) {
    const dueMs = dueOf(input, cron, tickMs)
    if (dueMs > nowMs) {
      nextAtMs = dueMs
      break
    }
    ticks.push({ tickMs, isCaughtUp: false, dueMs })
    decidedMs = tickMs
  }
  if (!missed) return { ticks, cursorMs: decidedMs, nextAtMs }
  const caughtUp = caughtUpOf(input, missed, ticks.length > 0)
  const left = leftOf(cron, missed, caughtUp)
  return {
    ticks: [...caughtUp.map(tickMs => ({ tickMs, isCaughtUp: true, dueMs: dueOf(input, cron, tickMs) })), ...ticks],
    ...(left && { missed: left }),
    cursorMs: decidedMs,
    nextAtMs,
  }
}

/** The next ticks after an instant, without jitter; fewer when no more come. */
export function nextTicks(rules: Pick<ScheduleRules, 'cron' | 'timeZone'>, fromMs: number, count: number): number[] {
  return ticksBetween(cronOf(rules.cron, rules.timeZone), fromMs, Number.POSITIVE_INFINITY, count)
}

/** All that are missed. */
interface Missed {
  fromMs: number
  /** How many, or more than are looked at. */
  count: number
  /** Those before which nothing may be caught up with, in order, the last missed one at the end: one at least. */
  newest: number[]
}

function missedFrom(input: DecisionInput, cron: Cron, first: number): Missed | undefined {
  const untilMs = input.nowMs - graceMs
  if (first >= untilMs) return undefined
  const isMissed = (tickMs: number) => dueOf(input, cron, tickMs) < untilMs
  // Only the last before the limit may be due after it.
  const missedOf = (ticks: number[]) => (ticks.length > 0 && !isMissed(ticks.at(-1) ?? 0) ? ticks.slice(0, -1) : ticks)
  const newestMax = Math.max(1, caughtUpMax(input.rules))
  const enough = missedCountMax + newestMax + 2
  const sample = ticksBetween(cron, first - 1, untilMs, enough)
  const isAll = sample.length < enough
  const newest = missedOf(isAll ? sample : newestTicks(cron, untilMs, newestMax + 1)).slice(-newestMax)
  if (newest.length === 0) return undefined
  return { fromMs: first, count: isAll ? missedOf(sample).length : Number.POSITIVE_INFINITY, newest }
}

const caughtUpMax = ({ catchUp }: ScheduleRules): number => (catchUp === 'none' ? 0 : catchUp === 'latest' ? 1 : catchUp.all)

function caughtUpOf({ rules, nowMs }: DecisionInput, { newest }: Missed, isOtherFired: boolean): number[] {
  if (rules.catchUp === 'none' || (rules.catchUp === 'latest' && isOtherFired)) return []
  return newest.filter(tickMs => tickMs >= nowMs - rules.catchUpWindowMs)
}

/** Those that are not caught up with; undefined when all are. */
function leftOf(cron: Cron, { fromMs, count, newest }: Missed, caughtUp: readonly number[]): MissedTicks | undefined {
  const left = count - caughtUp.length
  if (left === 0) return undefined
  const toMs = newest.at(-caughtUp.length - 1) ?? newestTicks(cron, newest[0] ?? 0, 1)[0] ?? fromMs
  return { fromMs, toMs, count: Math.min(left, missedCountMax), isMore: left > missedCountMax }
}

/** When a tick is due. The jitter is cut where the next tick comes, and the same for whoever asks. */
function dueOf({ scheduleId, rules: { jitterMs } }: DecisionInput, cron: Cron, tickMs: number): number {
  if (jitterMs === 0) return tickMs
  const roomMs = Math.min(jitterMs, (cron.after(tickMs) ?? Number.POSITIVE_INFINITY) - tickMs)
  const drawn = new Bun.CryptoHasher('sha256').update(`${scheduleId}:${tickMs}`).digest().readUInt32BE(0)
  return tickMs + (drawn % roomMs)
}

/** Ticks after one instant and before another, the first `max` of them. */
function ticksBetween(cron: Cron, afterMs: number, untilMs: number, max: number): number[] {
  const ticks: number[] = []
  for (let tick = cron.after(afterMs); tick !== undefined && tick < untilMs && ticks.length < max; tick = cron.after(tick)) ticks.push(tick)
  return ticks
}

const secondMs = 1000

/**
 * The last `count` ticks before an instant, of which there are more, in order. There is no way backward, so it looks for a time to begin at that has as many
 * before the end, or up to twice as many, by doubling (Bentley, Yao: An almost optimal algorithm for unbounded searching, 1976), and halving when that is too far.
 */
function newestTicks(cron: Cron, untilMs: number, count: number): number[] {
  let shortMs = 0
  let longMs = Number.POSITIVE_INFINITY
  // No two ticks are nearer than a second.
  for (let backMs = count * secondMs; ; backMs = longMs === Number.POSITIVE_INFINITY ? backMs * 2 : (shortMs + longMs) / 2) {
    const ticks = ticksBetween(cron, untilMs - backMs - 1, untilMs, 2 * count + 1)
    if (ticks.length < count) shortMs = backMs
    else if (ticks.length > 2 * count) longMs = backMs
    else return ticks.slice(-count)
  }
}
