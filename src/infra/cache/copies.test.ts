import type { Cache, CacheRule } from '@/core/cache'
import { createCipher } from '@/core/seal'
import { describeOnRedis, onEachBacking } from '@/testing/backings'
import { copySuite } from '@/testing/conformance/copies'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { sharedServer } from '@/testing/servers'
import { openRedis } from '../redis'
import { memoryCache } from './memory'
import { cacheMetrics } from './metrics'
import { openSharedCache } from './open'

const memoryBytes = 10_000_000
const metrics = cacheMetrics(fakeMetrics())
const rootKey = Uint8Array.from({ length: 32 }, (_, i) => i + 1)

/** As the product opens it: on SQLite in memory, on servers in memory over Redis. */
onEachBacking('a store with copies', (open, name) => {
  if (name === 'sqlite') copySuite(open, async changedElsewhere => memoryCache({ bytesMax: memoryBytes, metrics }, changedElsewhere))
  else describeOnRedis('in memory over Redis', () => copySuite(open, openShared))
})

/** It works from the start, and keeps copies once it has reached Redis. */
async function untilItKeeps(cache: Cache): Promise<void> {
  const rule: CacheRule<string> = { ttlMs: 1000, absentTtlMs: 1000, isSecret: false, pack: String, unpack: String, copy: String }
  const key = crypto.randomUUID()
  let loads = 0
  for (let before = -1; loads !== before; await Bun.sleep(5)) {
    before = loads
    await cache.fetch(key, async () => ({ version: ++loads, value: 'there' }), rule)
  }
}

async function openShared() {
  const redis = openRedis((await sharedServer('redis'))?.url ?? '', { log: fakeLog() })
  const cache = openSharedCache(redis, { memoryBytes, timeoutMs: 2000, cipher: createCipher(rootKey, 'cache'), metrics })
  await untilItKeeps(cache)
  return { ...cache, close: () => cache.close().then(() => redis.close()) }
}
