import type { Clock } from '@/core/clock'

/** A clock that stands still until a test moves it. */
export interface FakeClock extends Clock {
  /** @param ms 0 or more */
  advance(ms: number): void
}

export function fakeClock(at = '2026-01-31T09:05:00.000Z'): FakeClock {
  let nowMs = Date.parse(at)
  return {
    nowMs: () => nowMs,
    advance(ms) {
      if (!(ms >= 0)) throw new RangeError(`a clock is moved on by 0 ms or more, not by ${ms}`)
      nowMs += ms
    },
  }
}
