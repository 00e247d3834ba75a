import type { Cache } from '@/core/cache'
import { systemClock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { PortName, Ports } from '@/core/ports'
import { createCipher, createSeal } from '@/core/seal'
import { rootKey } from './auth-key'
import { cacheMetrics } from './cache/metrics'
import { memoryCache } from './cache/memory'
import type { DriverTools, OpenDatabase } from './database/driver'
import { isEmbedded, openDatabase } from './database/open'
import { createPasswords } from './passwords'
import type { RedisServer } from './redis'

/** The ports of this process. The database is there only when a module needs it. */
export interface OpenPorts {
  ports: Ports
  db: OpenDatabase | undefined
  /** Lets what is under way finish, then closes all. */
  close(): Promise<void>
}

type Observers = Pick<DriverTools, 'log' | 'metrics' | 'writePositions'>

/**
 * Opens what `needed` lists, and nothing else.
 * @throws StartError when the database cannot be opened; Redis may come later
 */
export async function openPorts(config: Config, needed: ReadonlySet<PortName>, { log, metrics }: Observers): Promise<OpenPorts> {
  let db: OpenDatabase | undefined
  const redis = needed.has('db') ? await openConfiguredRedis(config, log) : undefined
  // Made before the database, since its stores use it, and asks the database when it is used.
  const cache = needed.has('db') ? await openCache(config, redis, () => db, { log, metrics }) : undefined
  const close = async () => {
    // The database first: what follows its last commits goes to the cache.
    await db?.close()
    await cache?.close()
    await redis?.close()
  }
  try {
    db = needed.has('db')
      ? await openConfiguredDatabase(config, { log, metrics, ...(await sharedPositions(config, redis)) }, cache)
      : undefined
  } catch (thrown) {
    await close()
    throw thrown
  }
  return {
    db,
    close,
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

/** @param cache absent where rows are changed by other means than stores, as migrations do */
export const openConfiguredDatabase = (config: Config, observers: Observers, cache?: Cache): Promise<OpenDatabase> =>
  openDatabase(config, { clock: systemClock, seal: createSeal(rootKey(config), 'page-token'), cache, ...observers })

/** Loaded when used: a process on SQLite starts without the Redis driver. */
const openConfiguredRedis = async ({ redis }: Config, log: Log): Promise<RedisServer | undefined> =>
  redis.url === undefined ? undefined : (await import('./redis')).openRedis(redis.url, { log, isCluster: redis.cluster })

/** Where reads go to replicas, an actor's next request may come to another process. */
async function sharedPositions({ database }: Config, redis: RedisServer | undefined): Promise<Pick<DriverTools, 'writePositions'>> {
  if (!redis || !database.replicaUrls) return {}
  const { sharedWritePositions } = await import('./database/replicas/shared-positions')
  return { writePositions: sharedWritePositions(redis.connect('write-positions')) }
}

/** Whether another process has changed the data since it was last asked. One that cannot tell keeps no copies. */
const changedElsewhere = (db: OpenDatabase | undefined) => db?.changedElsewhere?.() ?? true

async function openCache(
  config: Config,
  redis: RedisServer | undefined,
  db: () => OpenDatabase | undefined,
  { log, metrics }: Pick<Observers, 'log' | 'metrics'>,
): Promise<Cache | undefined> {
  const { memoryBytes, timeoutMs } = config.cache
  if (isEmbedded(config)) {
    if (memoryBytes === 0) return undefined
    return memoryCache({ bytesMax: memoryBytes, metrics: cacheMetrics(metrics) }, () => changedElsewhere(db()))
  }
  // Without Redis the processes on one MySQL could not tell each other what they change, so none keeps copies.
  if (!redis) return undefined
  // One write changes many keys at once, and a cluster has them on different servers.
  if (config.redis.cluster) {
    log.info('there is no cache of rows on a Redis Cluster')
    return undefined
  }
  const { openSharedCache } = await import('./cache/open')
  return openSharedCache(redis, { memoryBytes, timeoutMs, cipher: createCipher(rootKey(config), 'cache'), metrics: cacheMetrics(metrics) })
}
