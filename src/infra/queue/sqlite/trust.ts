/**
 * Whether leases that have ended by the clock have really ended. After the clock has jumped, or the machine has slept, those of
 * workers that live may seem to be over; they get one lease to say that they are there. Jumps are seen against the clock that does
 * not jump. A process that has just started has not seen them: it goes by when somebody has last written to the queue. Leases are
 * as durable as the tasks, so a restart of a process, or of the machine, needs no more than that.
 */
export interface Trust {
  /** @param wroteMs when the queue was last written to; only what the first look sees counts */
  seen(queue: string, nowMs: number, wroteMs: number | undefined): void
  mayReap(queue: string, nowMs: number, leaseMs: number): boolean
}

/** Clocks are corrected by less than this all the time. */
const jumpMinMs = 1000
/** A process that starts after a shorter silence trusts it. */
const silenceMinMs = 5000

export function createTrust(clock: { nowMs(): number }, monotonicMs: () => number): Trust {
  const first = new Map<string, { silenceMs: number; sinceMs: number }>()
  let offsetMs = clock.nowMs() - monotonicMs()
  let distrustedUntilMs = Number.NEGATIVE_INFINITY
  return {
    seen(queue, nowMs, wroteMs) {
      if (!first.has(queue)) first.set(queue, { silenceMs: nowMs - (wroteMs ?? nowMs), sinceMs: monotonicMs() })
    },
    mayReap(queue, nowMs, leaseMs) {
      const steadyMs = monotonicMs()
      const jumpMs = Math.abs(nowMs - steadyMs - offsetMs)
      if (jumpMs > Math.max(jumpMinMs, leaseMs / 4)) distrustedUntilMs = steadyMs + leaseMs
      offsetMs = nowMs - steadyMs
      if (steadyMs < distrustedUntilMs) return false
      const look = first.get(queue)
      return !look || look.silenceMs <= Math.max(silenceMinMs, leaseMs) || steadyMs >= look.sinceMs + leaseMs
    },
  }
}
