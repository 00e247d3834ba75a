import { describe, expect, test } from 'bun:test'
import { exitCodes, StartError } from '@/core/error'
import { describeOnRedis } from '@/testing/backings'
import { claim, finishAs, isUnavailable, newTask, openSubject, until } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import { checkServer } from './check'

const queue = 'q'
const works = (call: Promise<unknown>) =>
  call.then(
    () => true,
    () => false,
  )
const thrownBy = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    thrown => thrown,
  )

describe('what a server says of itself', () => {
  const info = (said: Record<string, string>) =>
    Object.entries({ redis_version: '7.0.15', maxmemory_policy: 'noeviction', aof_enabled: '1', ...said })
      .map(([name, value]) => `${name}:${value}\r\n`)
      .join('')

  test('a server before Redis 7 is refused', () => {
    expect(checkServer(info({ redis_version: '6.2.14' })).problem).toContain('Redis 7 or later')
    expect(checkServer(info({ redis_version: '7.0.0' }))).toEqual({})
    expect(checkServer(info({ redis_version: '10.0.0' }))).toEqual({})
  })

  test('each policy that throws keys away is refused, with the remedy', () => {
    for (const policy of ['allkeys-lru', 'volatile-lru', 'allkeys-random', 'volatile-ttl', 'allkeys-lfu']) {
      expect(checkServer(info({ maxmemory_policy: policy })).problem).toContain('set maxmemory-policy noeviction')
    }
  })

  test('no append-only file is warned of, with the remedy', () => {
    expect(checkServer(info({ aof_enabled: '0' })).warning).toContain('appendonly yes')
  })
})

describeOnRedis('a Redis that must not be used, or takes no writes', () => {
  test('one that may throw tasks away is refused when it is opened: exit 78 and the remedy', async () => {
    await using server = await startOwn('redis', ['--maxmemory-policy', 'allkeys-lru'])
    const thrown = await thrownBy(openSubject(server.url))
    expect(thrown).toBeInstanceOf(StartError)
    expect((thrown as StartError).exitCode).toBe(exitCodes.configuration)
    expect((thrown as StartError).message).toContain('maxmemory-policy noeviction')
  })

  test('one that comes later, and may throw tasks away, is not used until that is mended', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url, { timeoutMs: 500 })
    const { driver, raw, log } = subject
    await driver.enqueue(queue, [newTask()])
    await raw.config('SET', 'maxmemory-policy', 'volatile-lru')
    await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until(() => isUnavailable(driver.enqueue(queue, [newTask()])))
    expect(log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields['problem'])).toEqual([
      expect.stringContaining('maxmemory-policy noeviction'),
    ])
    expect(await isUnavailable(driver.ping())).toBe(true)
    await raw.config('SET', 'maxmemory-policy', 'noeviction')
    await until(() => works(driver.ping()), 15_000)
    expect((await driver.stats(queue)).waiting).toBe(1)
  }, 20_000)

  test('a full one refuses new tasks at once, and works off what it has', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, count } = subject
    await driver.enqueue(
      queue,
      Array.from({ length: 300 }, () => newTask()),
    )
    const held = await claim(driver, queue, 50)
    await raw.config('SET', 'maxmemory', '1')
    const beganMs = performance.now()
    expect(await isUnavailable(driver.enqueue(queue, [newTask()]))).toBe(true)
    expect(await isUnavailable(driver.ping())).toBe(true)
    expect(performance.now() - beganMs).toBeLessThan(500)
    expect(count('bingo_queue_redis_failures_total', { why: 'refused' })).toBe(2)

    expect((await driver.beat(queue, 30_000, finishAs(held, {}))).lost).toEqual([])
    const { finished, claimed } = await driver.exchange(queue, {
      finish: finishAs(held, { outcome: 'done' }),
      claim: { worker: 'w', nonce: 'n'.repeat(16), count: 100, leaseMs: 30_000 },
    })
    expect([finished.every(status => status === 'ok'), claimed.length]).toEqual([true, 100])
    await driver.reap(queue, { leaseMs: 30_000, crashesMax: 3 })
    expect(await driver.stats(queue)).toMatchObject({ waiting: 150, active: 100, total: { done: 50 } })
    await raw.config('SET', 'maxmemory', '0')
    expect((await driver.enqueue(queue, [newTask()]))[0]?.status).toBe('enqueued')
  })

  test('a replica refuses at once; when it is made the primary, it works', async () => {
    await using server = await startOwn('redis')
    await using primary = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw } = subject
    await raw.replicaof('127.0.0.1', primary.port)
    await until(async () => (await raw.info('replication')).includes('master_link_status:up'), 10_000)
    const beganMs = performance.now()
    expect(await isUnavailable(driver.enqueue(queue, [newTask()]))).toBe(true)
    expect(performance.now() - beganMs).toBeLessThan(1500)
    await until(async () => !(await works(driver.ping())))
    await raw.replicaof('NO', 'ONE')
    await until(() => works(driver.ping()), 10_000)
    expect((await driver.enqueue(queue, [newTask()]))[0]?.status).toBe('enqueued')
  }, 30_000)

  test('one claim takes some megabytes at most, and the next takes the rest', async () => {
    await using server = await startOwn('redis')
    // A second for a call of some megabytes is little on a machine that does much else.
    await using subject = await openSubject(server.url, { timeoutMs: 20_000 })
    const { driver } = subject
    const envelope = 'x'.repeat(250_000)
    for (let i = 0; i < 10; i++) {
      await driver.enqueue(
        queue,
        Array.from({ length: 10 }, () => newTask({ envelope })),
      )
    }
    const first = await driver.exchange(queue, { claim: { worker: 'w', nonce: 'n'.repeat(16), count: 100, leaseMs: 30_000 } })
    expect(first.claimed.length).toBeGreaterThan(10)
    expect(first.claimed.length).toBeLessThan(60)
    expect(first.nextDueMs).toBe(0)
    let rest = 0
    while (rest < 100 - first.claimed.length) rest += (await claim(driver, queue)).tasks.length
    expect(await driver.stats(queue)).toMatchObject({ waiting: 0, active: 100 })
  })

  test('a waiting task with a payload of 200 bytes takes less than 400 bytes, and one key', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url, { prefix: 'bingo' })
    const { driver, raw } = subject
    const used = async () => Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
    const envelope = JSON.stringify(['bench.task', Date.now(), { text: 'x'.repeat(200 - '{"text":""}'.length) }])
    await driver.enqueue('default', [newTask()])
    // What is remembered of calls expires.
    const keys = async () => (await raw.keys('*')).filter(key => !key.includes('}:cl:')).length
    const before = { bytes: await used(), keys: await keys() }
    const total = 50_000
    for (let i = 0; i < total; i += 1000) {
      await driver.enqueue(
        'default',
        Array.from({ length: 1000 }, () => newTask({ envelope })),
      )
    }
    expect(((await used()) - before.bytes) / total).toBeLessThan(400)
    expect((await keys()) - before.keys).toBe(total)
  }, 20_000)
})
