import { expect, test } from 'bun:test'
import type { Cache } from '@/core/cache'
import { row, rule } from '@/testing/conformance/cache-fixture'
import { countingMetrics } from '@/testing/fakes'
import { memoryCache } from './memory'
import { cacheMetrics } from './metrics'

function heldCache({ bytesMax = 1_000_000 } = {}) {
  const held = { nowMs: 1000, random: 0, isChanged: false }
  const metrics = countingMetrics()
  const timing = { nowMs: () => held.nowMs, random: () => held.random }
  const cache = memoryCache({ bytesMax, metrics: cacheMetrics(metrics), timing }, () => {
    const is = held.isChanged
    held.isChanged = false
    return is
  })
  return { held, metrics, cache }
}

/** The version that a reader gets; a load brings `loaded`. */
async function versionOf(cache: Cache, key: string, loaded = 99, kept = rule()): Promise<number | undefined> {
  return (await cache.fetch(key, async () => row(loaded), kept))?.version
}

test('a hundred thousand fills stay within the bytes, and the newest of them are there', async () => {
  const bytesMax = 2_000_000
  const { cache, metrics } = heldCache({ bytesMax })
  let most = 0
  for (let i = 0; i < 100_000; i++) {
    await versionOf(cache, `row:${i}`, i + 1)
    most = Math.max(most, metrics.gaugeOf('bingo_cache_memory_bytes') ?? 0)
  }
  expect(most).toBeLessThanOrEqual(bytesMax)
  expect(most).toBeGreaterThan(bytesMax * 0.99)
  const entries = metrics.gaugeOf('bingo_cache_memory_entries') ?? 0
  expect(metrics.count('bingo_cache_memory_evictions_total')).toBe(100_000 - entries)
  expect([await versionOf(cache, 'row:99999'), await versionOf(cache, 'row:0')]).toEqual([100_000, 99])
}, 30_000)

test('the memory that copies take is not more than they are said to', async () => {
  const { cache, metrics } = heldCache({ bytesMax: 200_000_000 })
  Bun.gc(true)
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 50_000; i++) await versionOf(cache, `row:${crypto.randomUUID()}`, i)
  Bun.gc(true)
  const taken = process.memoryUsage().heapUsed - before
  expect(taken).toBeLessThan(metrics.gaugeOf('bingo_cache_memory_bytes') ?? 0)
  expect(metrics.gaugeOf('bingo_cache_memory_entries')).toBe(50_000)
}, 30_000)

test('what is read stays while what is not makes room', async () => {
  const { cache } = heldCache({ bytesMax: 20_000 })
  for (let i = 0; i < 1000; i++) {
    await versionOf(cache, 'read often', 1)
    await versionOf(cache, `row:${i}`)
  }
  expect(await versionOf(cache, 'read often', 2)).toBe(1)
})

test('what is larger than the whole is not kept, and throws nothing else out', async () => {
  const { cache } = heldCache({ bytesMax: 2000 })
  await versionOf(cache, 'small', 1)
  const large = { version: 1, value: { version: 1, name: 'x'.repeat(2000), bytes: new Uint8Array() } }
  await cache.fetch('large', async () => large, rule())
  expect([await versionOf(cache, 'large', 2), await versionOf(cache, 'small', 2)]).toEqual([2, 1])
})

test('copies live up to a tenth less than their rule says, and are renewed in the last fifth of that', async () => {
  for (const [random, lifeMs] of [
    [0, 60_000],
    [0.5, 57_000],
    [0.999999, 54_000],
  ] as const) {
    const { cache, held } = heldCache()
    held.random = random
    await versionOf(cache, 'a', 1)
    held.nowMs += lifeMs * 0.8 - 2
    expect(await versionOf(cache, 'a', 2)).toBe(1)
    await Promise.resolve()
    held.nowMs += 1
    expect(await versionOf(cache, 'a', 2)).toBe(1)

    const unread = heldCache()
    unread.held.random = random
    await versionOf(unread.cache, 'a', 1)
    unread.held.nowMs += lifeMs + 1
    expect(await versionOf(unread.cache, 'a', 2)).toBe(2)

    const renewed = heldCache()
    renewed.held.random = random
    await versionOf(renewed.cache, 'a', 1)
    renewed.held.nowMs += lifeMs - 1
    expect(await versionOf(renewed.cache, 'a', 2)).toBe(1)
    await Bun.sleep(0)
    expect(await versionOf(renewed.cache, 'a', 3)).toBe(2)
  }
})

test('a copy is as old as its load is long', async () => {
  const { cache, held } = heldCache()
  await cache.fetch(
    'a',
    async () => {
      held.nowMs += 20_000
      return row(1)
    },
    rule(),
  )
  held.nowMs += 40_001
  expect(await versionOf(cache, 'a', 2)).toBe(2)
})

test('a renewal that failed is not repeated with each read', async () => {
  const { cache, held, metrics } = heldCache()
  await versionOf(cache, 'a', 1)
  held.nowMs += 50_000
  for (let i = 0; i < 20; i++) {
    await cache.fetch('a', () => Promise.reject(new Error('no database')), rule())
    await Bun.sleep(0)
  }
  expect(metrics.count('bingo_cache_loads_total', { outcome: 'failed' })).toBe(1)
})

test('when another process has written, nothing is known and what is being read is not kept', async () => {
  const { cache, held } = heldCache()
  await versionOf(cache, 'a', 1)
  const goOn = Promise.withResolvers<void>()
  const slow = cache.fetch(
    'b',
    async () => {
      await goOn.promise
      return row(1)
    },
    rule(),
  )
  held.isChanged = true
  expect([await versionOf(cache, 'a', 2), await versionOf(cache, 'b', 2)]).toEqual([2, 2])
  goOn.resolve()
  await slow
  expect([await versionOf(cache, 'a', 3), await versionOf(cache, 'b', 3)]).toEqual([2, 2])
})

test('a write that comes after another process has written may be old, and is not kept', async () => {
  const { cache, held } = heldCache()
  held.isChanged = true
  await versionOf(cache, 'other', 1)
  await cache.write([{ key: 'a', entry: row(2), rule: rule() }])
  expect(await versionOf(cache, 'a', 3)).toBe(3)
  held.nowMs += 30_001
  await cache.write([{ key: 'b', entry: row(2), rule: rule() }])
  expect(await versionOf(cache, 'b', 3)).toBe(2)
})

test('what was written is known to be newer even after its copy had to make room', async () => {
  const { cache } = heldCache({ bytesMax: 5000 })
  await cache.write([{ key: 'a', entry: row(3), rule: rule() }])
  await cache.write([{ key: 'b', entry: { version: 3, value: undefined }, rule: rule() }])
  for (let i = 0; i < 100; i++) await versionOf(cache, `row:${i}`)
  await cache.write([
    { key: 'a', entry: row(2), rule: rule() },
    { key: 'b', entry: row(3), rule: rule() },
  ])
  expect([await versionOf(cache, 'a', 4), await versionOf(cache, 'b', 4)]).toEqual([4, 4])
})

test('when more was written than can be remembered, what comes late is not kept', async () => {
  const { cache, held } = heldCache({ bytesMax: 5000 })
  await cache.write([{ key: 'a', entry: row(3), rule: rule() }])
  for (let i = 0; i < 10_000; i++) await cache.write([{ key: `row:${i}`, entry: row(1), rule: rule() }])
  await cache.write([{ key: 'a', entry: row(2), rule: rule() }])
  expect(await versionOf(cache, 'a', 3)).toBe(3)
  held.nowMs += 60_001
  await cache.write([{ key: 'b', entry: row(2), rule: rule() }])
  expect(await versionOf(cache, 'b', 3)).toBe(2)
})

test('a load that takes longer than writes are remembered is waited for by nobody else and fills nothing', async () => {
  const { cache, held } = heldCache()
  const goOn = Promise.withResolvers<void>()
  const stuck = cache.fetch(
    'a',
    async () => {
      await goOn.promise
      return row(1)
    },
    rule(),
  )
  held.nowMs += 30_001
  expect(await versionOf(cache, 'a', 2)).toBe(2)
  goOn.resolve()
  await stuck
  expect(await versionOf(cache, 'a', 3)).toBe(2)
})
