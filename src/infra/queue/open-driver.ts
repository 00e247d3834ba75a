import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import { exitCodes, StartError } from '@/core/error'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { OpenDatabase } from '../database/driver'
import { isEmbedded } from '../database/open'
import type { RedisServer } from '../redis'
import type { QueueDriver } from './driver'

/** Below it. What is not used may be absent. */
export interface DriverBase {
  db?: OpenDatabase | undefined
  redis?: RedisServer | undefined
}

/**
 * Where tasks are: in the file of SQLite, or in Redis beside MySQL. Drivers are loaded when used.
 * @throws StartError when what it needs is not there, or cannot be used
 */
export async function openDriver(
  config: Config,
  { db, redis }: DriverBase,
  { log, metrics, clock }: { log: Log; metrics: Metrics; clock?: Clock },
): Promise<QueueDriver> {
  if (db && isEmbedded(config)) {
    const { openSqliteQueue } = await import('./sqlite/driver')
    return openSqliteQueue({ db, log, metrics, ...(clock && { clock }) })
  }
  if (!redis) throw new StartError('with MySQL the task queue is in Redis; set BINGO_REDIS_URL', exitCodes.configuration)
  const { openRedisQueue } = await import('./redis/open')
  return openRedisQueue({ server: redis, prefix: config.redis.prefix, timeoutMs: config.queue.timeoutMs, log, metrics })
}
