import { describe } from 'bun:test'
import type { Cache } from '@/core/cache'
import { createCipher } from '@/core/seal'
import { describeOnRedis } from '@/testing/backings'
import { cacheSuite, type CacheSubject } from '@/testing/conformance/cache'
import { row, rule, until } from '@/testing/conformance/cache-fixture'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { sharedServer } from '@/testing/servers'
import { openRedis } from '../redis'
import { memoryCache } from './memory'
import { cacheMetrics } from './metrics'
import { openSharedCache } from './open'

const cipher = createCipher(
  Uint8Array.from({ length: 32 }, (_, i) => i),
  'test',
)

describe('a cache in memory', () =>
  cacheSuite(
    async () => ({
      open: async () => memoryCache({ bytesMax: 10_000_000, metrics: cacheMetrics(countingMetrics()) }),
      isShared: false,
      close: async () => {},
    }),
    { isShared: false },
  ))

async function onRedis(memoryBytes: number): Promise<CacheSubject> {
  const url = (await sharedServer('redis'))?.url ?? ''
  const server = openRedis(url, { log: fakeLog() })
  return {
    isShared: true,
    async open() {
      const metrics = countingMetrics()
      const cache = openSharedCache(server, { memoryBytes, timeoutMs: 1000, cipher, metrics: cacheMetrics(metrics) })
      await ready(cache, () => metrics.count('bingo_cache_reads_total', { level: memoryBytes > 0 ? 'memory' : 'redis', outcome: 'hit' }))
      return cache
    },
    close: () => server.close(),
  }
}

/** Redis answers, and the changes of others are heard. */
async function ready(cache: Cache, hits: () => number): Promise<void> {
  const key = crypto.randomUUID()
  await until(async () => {
    await cache.fetch(key, async () => row(1), rule())
    return hits() > 0
  })
}

describeOnRedis('a cache in Redis', () => cacheSuite(() => onRedis(0), { isShared: true }))
describeOnRedis('a cache in memory over Redis', () => cacheSuite(() => onRedis(10_000_000), { isShared: true }))
