import type { Config } from '@/core/config/settings'
import { StartError } from '@/core/error'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { isEmbedded } from '../../database/open'
import type { QueueDriver } from '../driver'

/** A driver of its own, with a database or Redis of its own below it. @throws whatever keeps it from being opened now */
export async function openOwnDriver(
  config: Config,
  { log, metrics }: { log: Log; metrics: Metrics },
): Promise<{ driver: QueueDriver; close(): Promise<void> }> {
  if (isEmbedded(config)) {
    const [{ openConfiguredDatabase }, { openSqliteQueue }] = await Promise.all([import('../../ports'), import('../sqlite/driver')])
    const db = await openConfiguredDatabase(config, { log, metrics })
    return below(openSqliteQueue({ db, log, metrics }), db)
  }
  const [{ openConfiguredRedis }, { openRedisQueue }] = await Promise.all([import('../../ports'), import('../redis/open')])
  const server = await openConfiguredRedis(config, log)
  if (!server) throw new StartError('the task queue of a MySQL installation is in Redis; set BINGO_REDIS_URL')
  try {
    const { prefix } = config.redis
    return below(await openRedisQueue({ server, prefix, timeoutMs: config.queue.timeoutMs, log, metrics }), server)
  } catch (thrown) {
    await server.close()
    throw thrown
  }
}

const below = (driver: QueueDriver, base: { close(): Promise<void> }) => ({
  driver,
  async close() {
    await driver.close()
    await base.close()
  },
})
