import { backoffMs } from '@/core/backoff'

/**
 * When a call that may be made twice is made again: gRPC's own rules (gRFC A6), with a budget, so that callers of a service that is in
 * trouble do not add to it.
 */
export interface RetryBudget {
  /** A call was answered, with whatever. */
  answered(): void
  /** @returns whether it may be tried again */
  failed(): boolean
}

/** With the first one. */
export const attemptsMax = 5
/** Between two of them. All five take a second at most. */
export const backoff = { min: 50, max: 500 }
/** As many as gRPC allows: of two instances one may die under several hundred calls. While half of them are gone, nothing is tried again. */
const tokensMax = 1000
/** So many answers give back one: so in the long run one call of ten is tried again. */
const answersPerToken = 10

export function createRetryBudget(): RetryBudget {
  // In the smallest parts, which are whole.
  const partsMax = tokensMax * answersPerToken
  let parts = partsMax
  return {
    answered() {
      parts = Math.min(partsMax, parts + 1)
    },
    failed() {
      parts = Math.max(0, parts - answersPerToken)
      return parts > partsMax / 2
    },
  }
}

/**
 * How long to wait before the next attempt.
 * @param attempt the one that has failed, from 1
 * @param askedMs what the server has asked for
 * @returns undefined when there is to be none
 */
export function retryAfterMs(attempt: number, askedMs: number, leftMs: number, random: () => number = Math.random): number | undefined {
  if (attempt >= attemptsMax) return undefined
  const waitMs = Math.max(askedMs, backoffMs(backoff, attempt - 1, random))
  return waitMs < leftMs ? waitMs : undefined
}
