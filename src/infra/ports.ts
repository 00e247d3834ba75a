import { systemClock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { PortName, Ports } from '@/core/ports'
import { createSeal } from '@/core/seal'
import { rootKey } from './auth-key'
import type { OpenDatabase } from './database/driver'
import { openDatabase } from './database/open'
import { createPasswords } from './passwords'

/** The ports of this process. The database is there only when a module needs it. */
export interface OpenPorts {
  ports: Ports
  db: OpenDatabase | undefined
}

/** Opens what `needed` lists, and nothing else. */
export async function openPorts(
  config: Config,
  needed: ReadonlySet<PortName>,
  { log, metrics }: { log: Log; metrics: Metrics },
): Promise<OpenPorts> {
  const db = needed.has('db') ? await openConfiguredDatabase(config, { log, metrics }) : undefined
  return {
    db,
    ports: {
      clock: systemClock,
      log,
      metrics,
      passwords: createPasswords(config.password, metrics),
      // A module that did not list the port cannot reach for it: `create` is typed by `needs`.
      db: db as OpenDatabase,
    },
  }
}

export const openConfiguredDatabase = (config: Config, tools: { log: Log; metrics: Metrics }): Promise<OpenDatabase> =>
  openDatabase(config, { clock: systemClock, seal: createSeal(rootKey(config), 'page-token'), cache: undefined, ...tools })
