import { systemTiming, type Timing } from './timing'

/**
 * Stops asking a server that does not answer, so that its callers do not wait for it in vain. It opens after `failuresMax` failures
 * without a success between them; after a pause one caller is let through, and its outcome decides.
 */
export interface Breaker {
  readonly state: BreakerState
  /** Whether to ask now. Who gets true says afterwards how it went, whatever happens. */
  allows(): boolean
  succeeded(): void
  failed(): void
}
export type BreakerState = 'closed' | 'half-open' | 'open'

export interface BreakerOptions {
  failuresMax: number
  /** They also have to be so far apart, where one event fails all that is under way: the first and the last of them. 0 when absent. */
  apartMs?: number
  /** Up to a half less, so that processes do not come back all at once. */
  pauseMs: number
  onOpen?: () => void
  timing?: Timing
}

export function createBreaker({ failuresMax, apartMs = 0, pauseMs, onOpen, timing = systemTiming }: BreakerOptions): Breaker {
  let state: BreakerState = 'closed'
  let failures = 0
  let failingSinceMs = 0
  let askAgainAtMs = 0

  function open() {
    state = 'open'
    failures = 0
    askAgainAtMs = timing.nowMs() + pauseMs * (1 - timing.random() / 2)
    onOpen?.()
  }

  return {
    get state() {
      return state
    },
    allows() {
      if (state === 'closed') return true
      if (state === 'half-open' || timing.nowMs() < askAgainAtMs) return false
      state = 'half-open'
      return true
    },
    succeeded() {
      failures = 0
      // One that was sent before the server fell silent says nothing of it now.
      if (state === 'half-open') state = 'closed'
    },
    failed() {
      if (state === 'open') return
      if (++failures === 1) failingSinceMs = timing.nowMs()
      if (state === 'half-open' || (failures >= failuresMax && timing.nowMs() - failingSinceMs >= apartMs)) open()
    },
  }
}
