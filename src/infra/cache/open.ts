import type { Cache } from '@/core/cache'
import type { Cipher } from '@/core/seal'
import type { RedisServer } from '../redis'
import { cacheLevels } from './levels'
import type { CacheMetrics } from './metrics'
import { redisCache } from './redis'

export interface SharedCacheOptions {
  /** 0 for Redis alone. */
  memoryBytes: number
  timeoutMs: number
  cipher: Cipher
  metrics: CacheMetrics
}

/** The cache of processes that share a Redis server. Works from the start, be the server there or not. */
export function openSharedCache(server: RedisServer, { memoryBytes, timeoutMs, cipher, metrics }: SharedCacheOptions): Cache {
  const commands = server.connect('cache')
  const redis = redisCache({ connection: commands, cipher, timeoutMs, metrics })
  if (memoryBytes === 0) return redis
  const subscriber = server.connect('cache-changes')
  return cacheLevels({ redis, commands, subscriber, memory: { bytesMax: memoryBytes, metrics } })
}
