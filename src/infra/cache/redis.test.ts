import { expect, test } from 'bun:test'
import { Redis } from 'ioredis'
import type { Cache } from '@/core/cache'
import { createCipher } from '@/core/seal'
import { describeOnRedis } from '@/testing/backings'
import { row, rule, until } from '@/testing/conformance/cache-fixture'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { type OwnServer, startOwn } from '@/testing/servers'
import { openRedis } from '../redis'
import { cacheMetrics } from './metrics'
import { openSharedCache } from './open'

const rootKey = Uint8Array.from({ length: 32 }, (_, i) => i)
const timeoutMs = 50
/** What a loaded machine may add to a limit. */
const slackMs = 300

/** One process with a cache on a server; ready when Redis is used. */
async function processOn(redis: OwnServer, { memoryBytes = 10_000_000, info = 'test' } = {}) {
  const log = fakeLog()
  const metrics = countingMetrics()
  const server = openRedis(redis.url, { log })
  const cache = openSharedCache(server, { memoryBytes, timeoutMs, cipher: createCipher(rootKey, info), metrics: cacheMetrics(metrics) })
  const hits = (level: string) => metrics.count('bingo_cache_reads_total', { level, outcome: 'hit' })
  /** Waits until reads are answered by all levels again. */
  const recovered = async () => {
    const level = memoryBytes > 0 ? 'memory' : 'redis'
    const before = hits(level)
    const key = crypto.randomUUID()
    const beganMs = performance.now()
    await until(async () => {
      await cache.fetch(key, async () => row(1), rule())
      return hits(level) > before
    })
    return performance.now() - beganMs
  }
  await recovered()
  return {
    cache,
    metrics,
    log,
    recovered,
    async [Symbol.asyncDispose]() {
      await cache.close()
      await server.close()
    },
  }
}

const versionOf = async (cache: Cache, key: string, loaded: number, kept = rule()) =>
  (await cache.fetch(key, async () => row(loaded), kept))?.version

/** The longest of many reads, each of which must be answered from its load. */
async function slowestRead(cache: Cache, key: () => string, times: number): Promise<number> {
  let slowest = 0
  for (let i = 0; i < times; i++) {
    const beganMs = performance.now()
    expect(await versionOf(cache, key(), i + 100)).toBe(i + 100)
    slowest = Math.max(slowest, performance.now() - beganMs)
  }
  return slowest
}

/** Every key and value of a server, as it could be read there. */
async function everythingIn(url: string): Promise<string> {
  const client = new Redis(url)
  const keys = await client.keys('*')
  const values = await Promise.all(keys.map(key => client.get(key)))
  await client.quit()
  return JSON.stringify([keys, values])
}

describeOnRedis('a cache whose Redis fails', () => {
  for (const memoryBytes of [0, 10_000_000]) {
    const name = memoryBytes > 0 ? 'with memory over it' : 'alone'

    for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
      test(`${signal}: reads are answered from their loads in time, nothing throws, and it recovers (${name})`, async () => {
        await using redis = await startOwn('redis')
        await using one = await processOn(redis, { memoryBytes })
        const { cache, metrics } = one
        await versionOf(cache, 'before', 1)
        if (signal === 'SIGKILL') await redis.kill()
        else redis.pause()

        expect(await slowestRead(cache, () => crypto.randomUUID(), 50)).toBeLessThan(timeoutMs + slackMs)
        const beganMs = performance.now()
        await cache.write([{ key: 'before', entry: row(2), rule: rule() }])
        await cache.write([{ key: 'other', rule: rule() }])
        expect(performance.now() - beganMs).toBeLessThan(2 * (timeoutMs + slackMs))
        // A thousand at a time: they wait once, not each.
        const manyMs = performance.now()
        await Promise.all(Array.from({ length: 1000 }, (_, i) => versionOf(cache, `many:${i}`, i + 1)))
        expect(performance.now() - manyMs).toBeLessThan(timeoutMs + 2 * slackMs)
        expect(metrics.count('bingo_cache_breaker_opened_total')).toBeGreaterThan(0)
        expect(metrics.gaugeOf('bingo_cache_suspects')).toBe(2)

        if (signal === 'SIGSTOP') redis.resume()
        else await redis.start()
        expect(await one.recovered()).toBeLessThan(2000)
        await until(() => metrics.gaugeOf('bingo_cache_suspects') === 0, 2000)
        expect(metrics.gaugeOf('bingo_cache_breaker_state')).toBe(0)
        expect(await versionOf(cache, 'before', 2)).toBe(2)
      }, 30_000)
    }

    test(`a write that Redis was not told of is not read as it was before, neither meanwhile nor after (${name})`, async () => {
      await using redis = await startOwn('redis')
      await using one = await processOn(redis, { memoryBytes })
      await using two = await processOn(redis, { memoryBytes })
      const keys = Array.from({ length: 150 }, (_, i) => `row:${i}`)
      for (const key of keys) await versionOf(one.cache, key, 1)
      redis.pause()
      // Not even sent: else Redis would carry it out as soon as it goes on.
      await until(async () => {
        await versionOf(one.cache, crypto.randomUUID(), 1)
        return one.metrics.gaugeOf('bingo_cache_breaker_state') === 2
      })
      await one.cache.write(keys.map((key, i) => ({ key, ...(i % 2 ? { entry: row(2) } : {}), rule: rule() })))
      for (const key of keys) expect(await versionOf(one.cache, key, 2)).toBe(2)
      redis.resume()
      let reads = 0
      // From its first moment on: Redis has the old rows still.
      while (one.metrics.gaugeOf('bingo_cache_suspects') !== 0) {
        for (const key of keys) expect(await versionOf(one.cache, key, 2)).toBe(2)
        reads++
        // What is answered from memory lets nothing else run.
        await Bun.sleep(1)
      }
      expect(reads).toBeGreaterThan(0)
      for (const key of keys) await until(async () => (await versionOf(two.cache, key, 2)) === 2, 2000)
    }, 30_000)

    test(`a server started again from an old snapshot serves nothing of it (${name})`, async () => {
      await using redis = await startOwn('redis')
      await using one = await processOn(redis, { memoryBytes })
      await using two = await processOn(redis, { memoryBytes })
      await versionOf(one.cache, 'row', 1)
      const client = new Redis(redis.url)
      await client.save()
      client.disconnect()
      await one.cache.write([{ key: 'row', entry: row(2), rule: rule() }])
      await redis.kill()
      await redis.start()
      // It has the old row indeed.
      expect(await everythingIn(redis.url)).toContain('name “1”')
      for (const { cache, recovered } of [one, two]) {
        expect(await versionOf(cache, 'row', 2)).toBe(2)
        await recovered()
        expect(await versionOf(cache, 'row', 2)).toBe(2)
      }
    }, 30_000)
  }

  test('a reader that gave up waiting for Redis does not leave others waiting for it', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis)
    await using two = await processOn(redis)
    redis.pause()
    expect(await versionOf(one.cache, 'row', 1)).toBe(1)
    expect(one.metrics.count('bingo_cache_redis_errors_total', { reason: 'timeout' })).toBe(1)
    redis.resume()
    await one.recovered()
    const beganMs = performance.now()
    expect(await versionOf(two.cache, 'row', 2)).toBe(2)
    expect(performance.now() - beganMs).toBeLessThan(500)
    expect(await versionOf(two.cache, 'row', 3)).toBe(2)
  }, 30_000)

  test('when nothing is heard any more on an open connection, memory is not asked either, until it is', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis)
    await versionOf(one.cache, 'row', 1)
    redis.pause()
    await until(async () => (await versionOf(one.cache, 'row', 2)) === 2, 2500)
    redis.resume()
    expect(await one.recovered()).toBeLessThan(2000)
  }, 30_000)

  test('while the writes of others are not heard, memory is not asked; heard again, it begins empty', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis)
    await using two = await processOn(redis)
    await versionOf(one.cache, 'row', 1)
    const client = new Redis(redis.url)
    const list = String(await client.call('CLIENT', 'LIST'))
    const listeners = [...list.matchAll(/^id=(\d+) .* name=bingo-cache-changes /gm)].map(([, id]) => id as string)
    expect(listeners).toHaveLength(2)
    for (const id of listeners) await client.call('CLIENT', 'KILL', 'ID', id)
    await two.cache.write([{ key: 'row', entry: row(2), rule: rule() }])
    client.disconnect()
    const before = one.metrics.count('bingo_cache_reads_total', { level: 'memory', outcome: 'bypass' })
    await until(async () => (await versionOf(one.cache, 'row', 2)) === 2, 200)
    await one.recovered()
    expect(one.metrics.count('bingo_cache_reads_total', { level: 'memory', outcome: 'bypass' })).toBeGreaterThan(before)
    expect(await versionOf(one.cache, 'row', 3)).toBe(2)
  }, 30_000)

  test('a process that starts while Redis is away works, and uses it once it is there', async () => {
    await using redis = await startOwn('redis')
    await redis.kill()
    const log = fakeLog()
    const metrics = countingMetrics()
    const server = openRedis(redis.url, { log })
    const cache = openSharedCache(server, {
      memoryBytes: 0,
      timeoutMs,
      cipher: createCipher(rootKey, 'test'),
      metrics: cacheMetrics(metrics),
    })
    expect(await slowestRead(cache, () => crypto.randomUUID(), 20)).toBeLessThan(timeoutMs + slackMs)
    await until(() => log.lines.length > 0)
    expect(log.lines.map(({ message }) => message)).toEqual(['Redis cannot be reached'])
    await redis.start()
    await until(async () => {
      await versionOf(cache, 'row', 1)
      return metrics.count('bingo_cache_reads_total', { level: 'redis', outcome: 'hit' }) > 0
    }, 2000)
    expect(log.lines.map(({ message }) => message)).toEqual(['Redis cannot be reached', 'Redis is back'])
    await cache.close()
    await server.close()
  }, 30_000)

  test('a server that is full keeps nothing, refuses nobody, and still forgets what it is told to', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis, { memoryBytes: 0 })
    await versionOf(one.cache, 'row', 1)
    await versionOf(one.cache, 'other', 1)
    const client = new Redis(redis.url)
    await client.config('SET', 'maxmemory', '1')
    expect(await versionOf(one.cache, 'new', 1)).toBe(1)
    expect(await versionOf(one.cache, 'new', 2)).toBe(2)
    await one.cache.write([
      { key: 'row', entry: row(2), rule: rule() },
      { key: 'other', rule: rule() },
    ])
    await client.config('SET', 'maxmemory', '0')
    client.disconnect()
    // A write that has made room may keep what is new.
    expect([2, 3]).toContain((await versionOf(one.cache, 'row', 3)) ?? 0)
    expect(await versionOf(one.cache, 'other', 3)).toBe(3)
    expect(one.metrics.gaugeOf('bingo_cache_breaker_state')).toBe(0)
  }, 30_000)

  test('a server that refuses the password is said so, without it', async () => {
    await using redis = await startOwn('redis')
    const client = new Redis(redis.url)
    await client.config('SET', 'requirepass', 'right')
    client.disconnect()
    const log = fakeLog()
    const server = openRedis(redis.url.replace('redis://', 'redis://:canary-password@'), { log })
    const connection = server.connect('test')
    await until(() => log.lines.length > 0)
    await expect(connection.call(100, 'PING')).rejects.toThrow()
    expect(JSON.stringify(log.lines)).toContain('WRONGPASS')
    expect(JSON.stringify(log.lines)).not.toContain('canary-password')
    expect(log.lines).toHaveLength(1)
    await server.close()
  }, 30_000)
})

describeOnRedis('what a cache leaves in Redis', () => {
  test('no secret, in no key, value or message', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis)
    const heard: string[] = []
    const client = new Redis(redis.url)
    client.on('pmessage', (_pattern, _channel, message) => heard.push(message))
    await client.psubscribe('*')
    const secret = rule({ isSecret: true })
    const canary = { version: 1, value: { version: 1, name: 'canary-value', bytes: Buffer.from('canary-bytes') } }
    await one.cache.fetch('filled:canary-key', async () => canary, secret)
    await one.cache.write([{ key: 'written:canary-key', entry: canary, rule: secret }])
    await one.cache.write([{ key: 'clear', entry: { version: 1, value: { ...row(1).value, name: 'in the clear' } }, rule: rule() }])
    await until(() => heard.length === 2)
    client.disconnect()
    const everything = await everythingIn(redis.url)
    expect(everything).toContain('in the clear')
    expect(everything + heard.join()).not.toContain('canary-')
    expect(everything + heard.join()).not.toContain(Buffer.from('canary-bytes').toString('base64'))
    for (const key of ['filled:canary-key', 'written:canary-key']) {
      expect((await one.cache.fetch(key, async () => row(9), secret))?.name).toBe('canary-value')
    }
  }, 30_000)

  test('nothing without an end, and no value that lives longer than its rule says', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis, { memoryBytes: 0 })
    const kept = rule({ ttlMs: 100_000, absentTtlMs: 50_000 })
    for (let i = 0; i < 200; i++) await versionOf(one.cache, `row:${i}`, 1, kept)
    await one.cache.write([{ key: 'written', entry: row(1), rule: kept }])
    await one.cache.write([{ key: 'removed', entry: { version: 2, value: undefined }, rule: rule({ absentTtlMs: 100 }) }])
    const client = new Redis(redis.url)
    const keys = await client.keys('*')
    const left = await Promise.all(keys.filter(key => key.includes('row:') || key.includes('written')).map(key => client.pttl(key)))
    expect(left).toHaveLength(201)
    expect(Math.max(...left)).toBeLessThanOrEqual(100_000)
    expect(Math.min(...left)).toBeGreaterThan(88_000)
    // Not all at once.
    expect(Math.max(...left) - Math.min(...left)).toBeGreaterThan(5000)
    for (const key of keys) expect(await client.pttl(key)).toBeGreaterThan(0)
    expect(await client.pttl(keys.find(key => key.includes('removed')) ?? '')).toBeGreaterThan(25_000)
    client.disconnect()
  }, 30_000)

  test('what cannot be read is loaded, forgotten, and kept anew', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis, { memoryBytes: 0 })
    const secret = rule({ isSecret: true })
    await versionOf(one.cache, 'row', 1, secret)
    const client = new Redis(redis.url)
    const [key = ''] = await client.keys('*copy#*')
    const text = (await client.get(key)) ?? ''
    await client.set(key, `${text.slice(0, -4)}AAAA`, 'KEEPTTL')
    client.disconnect()
    expect(await versionOf(one.cache, 'row', 2, secret)).toBe(2)
    expect(await versionOf(one.cache, 'row', 3, secret)).toBe(3)
    expect(await versionOf(one.cache, 'row', 4, secret)).toBe(3)
    expect(one.metrics.count('bingo_cache_redis_errors_total', { reason: 'unreadable' })).toBe(1)
  }, 30_000)

  test('installations with different root keys do not read each other’s rows', async () => {
    await using redis = await startOwn('redis')
    await using one = await processOn(redis, { info: 'one' })
    await using two = await processOn(redis, { info: 'two' })
    await versionOf(one.cache, 'row', 1)
    expect(await versionOf(two.cache, 'row', 2)).toBe(2)
  }, 30_000)
})
