import type { Metrics } from '@/core/metrics'

/** What caches count. Every series is there from the start, so that a rate over it needs no first event. */
export type CacheMetrics = ReturnType<typeof cacheMetrics>

export function cacheMetrics(metrics: Metrics) {
  const reads = metrics.counter({
    name: 'bingo_cache_reads_total',
    help: 'Reads by level: hit, miss, or bypass when the level could not be asked.',
    labels: ['level', 'outcome'],
  })
  const loads = metrics.counter({
    name: 'bingo_cache_loads_total',
    help: 'Loads from the database, renewals included.',
    labels: ['outcome'],
  })
  const refused = metrics.counter({
    name: 'bingo_cache_fills_refused_total',
    help: 'Loads that filled nothing, since a write came between.',
    labels: ['level'],
  })
  const invalidations = metrics.counter({
    name: 'bingo_cache_invalidations_total',
    help: 'Keys written or forgotten, by this process or another.',
    labels: ['origin'],
  })
  const errors = metrics.counter({ name: 'bingo_cache_redis_errors_total', help: 'Calls of Redis that failed.', labels: ['reason'] })
  const read = (level: 'memory' | 'redis', outcome: 'hit' | 'miss' | 'bypass') => reads.with({ level, outcome })
  return {
    memory: {
      hit: read('memory', 'hit'),
      miss: read('memory', 'miss'),
      bypass: read('memory', 'bypass'),
      refused: refused.with({ level: 'memory' }),
    },
    redis: {
      hit: read('redis', 'hit'),
      miss: read('redis', 'miss'),
      bypass: read('redis', 'bypass'),
      refused: refused.with({ level: 'redis' }),
    },
    loaded: loads.with({ outcome: 'ok' }),
    loadFailed: loads.with({ outcome: 'failed' }),
    changedHere: invalidations.with({ origin: 'own' }),
    changedElsewhere: invalidations.with({ origin: 'other' }),
    timeout: errors.with({ reason: 'timeout' }),
    failed: errors.with({ reason: 'failed' }),
    unreadable: errors.with({ reason: 'unreadable' }),
    evicted: metrics.counter({ name: 'bingo_cache_memory_evictions_total', help: 'Copies that made room for others.' }).with({}),
    breakerOpened: metrics
      .counter({ name: 'bingo_cache_breaker_opened_total', help: 'How often Redis was given up for a moment.' })
      .with({}),
    gauge: metrics.gauge,
  }
}

/** Counts how a load ends. */
export async function countedLoad<T>(load: () => Promise<T>, metrics: CacheMetrics): Promise<T> {
  try {
    const found = await load()
    metrics.loaded.add()
    return found
  } catch (thrown) {
    metrics.loadFailed.add()
    throw thrown
  }
}
