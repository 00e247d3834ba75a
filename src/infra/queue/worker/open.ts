import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { QueueDriver } from '../driver'

export async function openOwnDriver(
  _config: Config,
  _tools: { log: Log; metrics: Metrics },
): Promise<{ driver: QueueDriver; close(): Promise<void> }> {
  throw new Error('not yet')
}
