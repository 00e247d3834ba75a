import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { isEmbedded } from '../../database/open'
import type { QueueDriver } from '../driver'
import { openDriver } from '../open-driver'

/**
 * A driver with a database or Redis of its own below it, for a thread that shares none of the process's.
 * @throws whatever keeps it from being opened now
 */
export async function openOwnDriver(
  config: Config,
  tools: { log: Log; metrics: Metrics },
): Promise<{ driver: QueueDriver; close(): Promise<void> }> {
  const { openConfiguredDatabase, openConfiguredRedis } = await import('../../ports')
  const db = isEmbedded(config) ? await openConfiguredDatabase(config, tools) : undefined
  const redis = db ? undefined : await openConfiguredRedis(config, tools.log)
  const closeBase = async () => {
    await db?.close()
    await redis?.close()
  }
  try {
    const driver = await openDriver(config, { db, redis }, tools)
    return {
      driver,
      async close() {
        await driver.close()
        await closeBase()
      },
    }
  } catch (thrown) {
    await closeBase()
    throw thrown
  }
}
