import { CronDate, CronPattern } from 'croner'
import { dayMs } from '@/core/clock'
import type { FieldProblem } from '@/core/error'
import { expressionFaults, neverDetail, zoneFault } from './cron-faults'
import { type TimeZone, timeZoneOf } from './time-zone'

/**
 * When a cron expression comes next. croner reads it and counts on a calendar whose clocks never change; what changes of the clocks do to its ticks is
 * decided here, as in Vixie cron (cron(8)). croner 11.0.1 by itself lets a time of day be when the clocks skip from it to the next day, as those of Nuuk
 * do each spring, and takes thirty times as long.
 *
 * - An expression whose seconds, minutes and hours are numbers, lists or ranges, without `*` and `/`, says times of day: `30 2 * * *`, `0 3,15 * * 1`.
 *   A time that the clocks skip comes at the first instant after, once even when several meet there; one that they show twice comes the first time.
 * - Any other says a rhythm: `5 * * * *`, `0-59/15 2 * * *`. It comes whenever the clocks show it: in both repeated hours, and not in one that is skipped.
 */
export interface Cron {
  /**
   * The first tick strictly later than `ms`, milliseconds since 1970, a whole second; undefined when none comes before the year 3000.
   * @throws Error when it would be none that is later
   */
  after(ms: number): number | undefined
}

/** Of so many expressions what was read is kept, since reading takes as long as ten ticks. */
const cronsKeptMax = 1000
const kept = new Map<string, Cron>()

/** @throws RangeError when `cronFaults` says something of it on every day */
export function cronOf(expression: string, timeZone: string): Cron {
  const key = `${timeZone} ${expression}`
  const cron = kept.get(key) ?? calculator(expression, timeZone)
  // A map keeps the order of insertion, and what is used is inserted again: the first is the least recently used.
  kept.delete(key)
  kept.set(key, cron)
  for (const oldest of kept.keys()) {
    if (kept.size <= cronsKeptMax) break
    kept.delete(oldest)
  }
  return cron
}

/**
 * What is wrong, in words for people, at most one problem for each of `/cron` and `/timeZone`. The types are not trusted.
 * @param nowMs of what is said anew, which must come within five years from then; without it what comes ever passes, today and on every day, and
 * that is what `cronOf` takes
 */
export function cronFaults(expression: string, timeZone: string, nowMs?: number): FieldProblem[] {
  const pattern = patternOf(expression)
  const isRare = typeof pattern !== 'string' && nowMs !== undefined && !comesWithin(pattern, nowMs, soonYears)
  return faultsIn(isRare ? neverDetail(pattern) : pattern, timeZone)
}

function faultsIn(pattern: CronPattern | string, timeZone: string): FieldProblem[] {
  const cron = typeof pattern === 'string' ? [{ pointer: '/cron', detail: pattern }] : []
  const fault = zoneFault(timeZone)
  return fault === undefined ? cron : [...cron, { pointer: '/timeZone', detail: fault }]
}

/** croner gives each pattern 10,000 years of its own, which are the same in all whose years are not said. */
const everyYear = new Array<number>(10_000).fill(1)

/** What is said, or what is wrong with it. */
function patternOf(expression: string): CronPattern | string {
  const faults = expressionFaults(expression)
  if (faults.length > 0) return faults.join('; ')
  try {
    const pattern = new CronPattern(expression, undefined, { mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' })
    pattern.year = everyYear
    return comesWithin(pattern, cycleFromMs, cycleYears) ? pattern : neverDetail(pattern)
  } catch (thrown) {
    return `is not understood: ${(thrown as Error).message.replace(/^\w+: /, '')}`
  }
}

const soonYears = 5
/** After so many years the calendar is the same again, to the day of the week: what does not come within them never does. */
const cycleYears = 400
const cycleFromMs = Date.UTC(2000, 0)

function comesWithin(pattern: CronPattern, fromMs: number, years: number): boolean {
  const first = nextShown(pattern, fromMs)
  return first !== undefined && first <= new Date(fromMs).setUTCFullYear(new Date(fromMs).getUTCFullYear() + years)
}

/** What clocks show is said in milliseconds, too: those at which clocks of UTC show it. */
function nextShown(pattern: CronPattern, shownMs: number): number | undefined {
  return new CronDate(new Date(shownMs), 0).increment(pattern, {}, false)?.getTime()
}

function calculator(expression: string, timeZone: string): Cron {
  const pattern = patternOf(expression)
  const faults = faultsIn(pattern, timeZone)
  if (faults.length > 0 || typeof pattern === 'string')
    throw new RangeError(faults.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; '))
  const zone = timeZoneOf(timeZone)
  const next = pattern.isFixedTime ? nextTimeOfDay : nextOfRhythm
  return {
    after(ms) {
      if (!Number.isFinite(ms)) throw new RangeError(`no tick comes after ${ms}`)
      const tick = next(pattern, zone, Math.floor(ms))
      // Whoever fires goes on from what this returns: it would fire the same for ever.
      if (tick !== undefined && !(tick > ms)) throw new Error(`the tick after ${ms} of ${expression} in ${timeZone} would be ${tick}`)
      return tick
    },
  }
}

function nextOfRhythm(pattern: CronPattern, zone: TimeZone, ms: number): number | undefined {
  for (let span = zone.at(ms), sinceMs = ms; ; sinceMs = span.untilMs - 1, span = zone.at(span.untilMs)) {
    const shown = nextShown(pattern, sinceMs + span.offsetMs)
    if (shown === undefined) return undefined
    const tick = shown - span.offsetMs
    if (tick < span.untilMs) return tick
  }
}

function nextTimeOfDay(pattern: CronPattern, zone: TimeZone, ms: number): number | undefined {
  const shown = nextShown(pattern, latestShown(zone, ms))
  if (shown === undefined) return undefined
  let span = zone.at(ms)
  while (shown - span.offsetMs >= span.untilMs) span = zone.at(span.untilMs)
  return Math.max(shown - span.offsetMs, span.fromMs)
}

/** No clock is set back further: a zone that changes the side of the date line repeats a day. */
const setBackMaxMs = dayMs

/** The latest time that the clocks have shown by now: after they were set back, one that they show again later. */
function latestShown(zone: TimeZone, ms: number): number {
  let span = zone.at(ms)
  let latest = ms + span.offsetMs
  while (span.fromMs > ms - setBackMaxMs) {
    const before = zone.at(span.fromMs - 1)
    latest = Math.max(latest, span.fromMs - 1 + before.offsetMs)
    span = before
  }
  return latest
}
