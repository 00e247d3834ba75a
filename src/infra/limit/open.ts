import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { RateLimits } from '@/core/rate-limit'
import { createBreaker } from '../cache/breaker'
import type { RedisServer } from '../redis'
import { createLeases } from './leases'
import { type Ledger, minute, type Span } from './ledger'
import { createRateLimits } from './limits'
import { memoryLedger } from './memory'

export interface RateLimitSurroundings {
  /** Absent on SQLite, where each process counts for itself. */
  redis: RedisServer | undefined
  log: Log
  metrics: Metrics
  /** For tests, which do not wait for minutes. */
  span?: Span
  /** A request waits no longer for Redis than this. For tests, which are on machines that do much else. */
  timeoutMs?: number
}

/** Callers that a process remembers at a time; each costs some hundred bytes. */
const keysMax = 10_000
const timeoutDefaultMs = 100
const failuresMax = 2
const pauseMs = 2000

/**
 * The limits of a process. With Redis all processes share them; while it is away each counts for itself, so that callers may make as
 * many requests at each process: limits protect from load, and an installation that answers nobody would be worse than the load.
 */
export async function openRateLimits(
  { limit, redis: { prefix } }: Pick<Config, 'limit' | 'redis'>,
  { redis, log, metrics, span = minute, timeoutMs = timeoutDefaultMs }: RateLimitSurroundings,
): Promise<RateLimits> {
  const nowMs = () => performance.now()
  const own = memoryLedger(span, nowMs, keysMax)
  const breaker = createBreaker({
    failuresMax,
    pauseMs,
    onOpen: () => log.warn('Redis does not answer: each process counts the requests of its callers for itself', { pauseMs }),
  })
  const connection = redis?.connect('rate-limits')
  // Loaded when used: a process on SQLite starts without the Redis driver.
  const sharedLedger: Ledger | undefined = connection && (await import('./redis')).redisLedger(connection, prefix, span, timeoutMs)
  const leases = createLeases({
    span,
    nowMs,
    own,
    keysMax,
    shared: () => (connection?.runId !== undefined && breaker.allows() ? sharedLedger : undefined),
    asked: wentWell => (wentWell ? breaker.succeeded() : breaker.failed()),
  })
  return createRateLimits(limit, { leases, metrics, span, nowMs })
}
