import type { Limit, Rate } from '@/core/queue/limit'
import type { SharedRule } from '@/core/role'
import type { ClaimLimits, RateLimit } from '../driver'

/**
 * What claims of a queue may not exceed.
 * @param limits of the tasks of all modules: a lane may be of a task that another process handles, and any task may be enqueued anywhere
 * @returns undefined when there is nothing, so that claims cost what they cost without
 */
export function claimLimitsOf({ concurrencyMax, rate }: SharedRule, limits: readonly Limit[]): ClaimLimits | undefined {
  const bounded = limits.filter(limit => limit.concurrency !== undefined || limit.rate !== undefined)
  if (concurrencyMax === undefined && rate === undefined && bounded.length === 0) return undefined
  return {
    ...(concurrencyMax !== undefined && { concurrency: concurrencyMax }),
    ...(rate && { rate: rateLimitOf(rate) }),
    lanes: Object.fromEntries(
      bounded.map(limit => [
        limit.name,
        {
          ...(limit.concurrency !== undefined && { concurrency: limit.concurrency }),
          ...(limit.rate && { rate: rateLimitOf(limit.rate) }),
        },
      ]),
    ),
  }
}

/** What may start at once after a silence, when nothing is said of it. */
const burstMs = 100

const rateLimitOf = ({ count, perMs, burst }: Rate): RateLimit => ({
  intervalMs: perMs / count,
  burst: burst ?? Math.max(1, Math.floor((count * burstMs) / perMs)),
})
