import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { isEmbedded } from '../../database/open'
import { openConfiguredDatabase } from '../../ports'
import type { QueueDriver } from '../driver'

/** A driver beside that of the other thread, with connections of its own. */
export async function openOwnDriver(
  config: Config,
  { log, metrics }: { log: Log; metrics: Metrics },
): Promise<{ driver: QueueDriver; close(): Promise<void> }> {
  if (!isEmbedded(config)) throw new Error('not yet')
  const db = await openConfiguredDatabase(config, { log, metrics })
  const { openSqliteQueue } = await import('../sqlite/driver')
  const driver = openSqliteQueue({ db, log, metrics })
  return {
    driver,
    async close() {
      await driver.close()
      await db.close()
    },
  }
}
