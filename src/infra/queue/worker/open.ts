import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { isEmbedded } from '../../database/open'
import { openConfiguredDatabase, openConfiguredRedis } from '../../ports'
import type { QueueDriver } from '../driver'

/** A driver beside that of the other thread, with connections of its own. */
export async function openOwnDriver(
  config: Config,
  { log, metrics }: { log: Log; metrics: Metrics },
): Promise<{ driver: QueueDriver; close(): Promise<void> }> {
  if (isEmbedded(config)) {
    const db = await openConfiguredDatabase(config, { log, metrics })
    const { openSqliteQueue } = await import('../sqlite/driver')
    const driver = openSqliteQueue({ db, log, metrics })
    return { driver, close: () => closeAll([driver, db]) }
  }
  const server = await openConfiguredRedis(config, log)
  if (!server) throw new Error('the task queue is in Redis, and there is none')
  const { openRedisQueue } = await import('../redis/open')
  const { prefix } = config.redis
  const driver = await openRedisQueue({ server, prefix, timeoutMs: config.queue.timeoutMs, log, metrics })
  return { driver, close: () => closeAll([driver, server]) }
}

async function closeAll(open: readonly { close(): Promise<void> }[]): Promise<void> {
  for (const each of open) await each.close()
}
