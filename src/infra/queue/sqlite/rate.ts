import type { RateLimit } from '../driver'

/** The generic cell rate algorithm, on one number: the theoretical arrival time of the next start, null when there was none. */

/** When the next may start: now at the earliest. */
export const mayStartMs = (tat: number | null, rate: RateLimit, nowMs: number): number =>
  tat === null ? nowMs : Math.max(nowMs, bounded(tat, rate, nowMs) - (burstOf(rate) - 1) * rate.intervalMs)

/** How many may start now, up to `most`. */
export function mayStart(tat: number | null, rate: RateLimit, nowMs: number, most: number): number {
  if (mayStartMs(tat, rate, nowMs) > nowMs) return 0
  const fromMs = Math.max(nowMs, bounded(tat ?? nowMs, rate, nowMs))
  const { intervalMs } = rate
  // One at least, whatever fractions have been lost.
  return Math.min(most, Math.max(1, Math.floor((nowMs + (burstOf(rate) - 1) * intervalMs - fromMs) / intervalMs) + 1))
}

/** @returns the time after so many starts */
export const started = (tat: number | null, rate: RateLimit, nowMs: number, count: number): number =>
  Math.max(nowMs, bounded(tat ?? nowMs, rate, nowMs)) + count * rate.intervalMs

/** What to keep instead of a time that this rate never says: as long as that is kept, the latest it does say moves on with the clock. */
export const boundedTat = (tat: number | null, rate: RateLimit, nowMs: number): number | null =>
  tat === null ? null : bounded(tat, rate, nowMs)

/** A rate that was slower, or a clock that was ahead, has said a time that this rate never says. */
const bounded = (tat: number, rate: RateLimit, nowMs: number): number => Math.min(tat, nowMs + burstOf(rate) * rate.intervalMs)

/** The clock has whole ms: those of one ms start together, or a shorter interval would be as slow as one a ms. */
const burstOf = ({ intervalMs, burst }: RateLimit): number => Math.max(burst, Math.ceil(1 / intervalMs))
