import { addressOf } from '@/core/address'
import { AppError } from '@/core/error'
import type { Identity } from '@/core/identity'
import type { RateClass, RateLimits } from '@/core/rate-limit'

export const noLimits = { readPerMinute: 0, writePerMinute: 0, credentialsPerMinute: 0, anonymousPerMinute: 0 }

export const asUser = (id: string): Identity => ({ kind: 'user', id, sessionId: 'session' })

export interface Asked {
  /** When it was let through, or refused. */
  atMs: number
  isLetThrough: boolean
  headers: Record<string, string>
  retryAfterSeconds: number | undefined
}

/** One request. @param address of its caller */
export async function ask(limits: RateLimits, rateClass: RateClass, identity: Identity, address = '192.0.2.1'): Promise<Asked> {
  const request = Object.assign(new Request('http://localhost/'), { locate: () => address })
  addressOf(request)
  const headers: Record<string, string> = {}
  try {
    const waiting = limits.take(rateClass, identity, request, headers)
    if (waiting) await waiting
    return { atMs: performance.now(), isLetThrough: true, headers, retryAfterSeconds: undefined }
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'ResourceExhausted.RateLimit') throw thrown
    return { atMs: performance.now(), isLetThrough: false, headers, retryAfterSeconds: thrown.retryAfterSeconds }
  }
}

/** The most that were let through within any window of this length. */
export function mostWithin(timesMs: readonly number[], windowMs: number): number {
  const sorted = timesMs.toSorted((a, b) => a - b)
  let most = 0
  let from = 0
  for (const [to, atMs] of sorted.entries()) {
    while (atMs - (sorted[from] ?? atMs) >= windowMs) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}
