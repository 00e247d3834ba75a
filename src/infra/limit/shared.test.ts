import { afterEach, expect, test } from 'bun:test'
import { describeOnRedis, onEachRedis } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { ask, asUser, mostWithin, noLimits } from '@/testing/rate-limits'
import { startOwn } from '@/testing/servers'
import { openRedis } from '../redis'
import { minute, type Span } from './ledger'
import { openRateLimits } from './open'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Shared {
  url: string
  isCluster?: boolean
  prefix: string
  span?: Span
  readPerMinute: number
  timeoutMs?: number
}

/** A process that Redis does not answer in time counts for itself. That it does so on a busy machine is not what is to be seen of those who share. */
const patientMs = 20_000

/** What one process has: connections, leases and a memory of its own. */
async function openProcess({ url, isCluster = false, prefix, span, readPerMinute, timeoutMs }: Shared) {
  const log = fakeLog()
  const redis = openRedis(url, { log, isCluster })
  closers.push(() => redis.close())
  let runId: string | undefined
  const opened = {
    connect(name: string) {
      const connection = redis.connect(name)
      connection.onChange(id => {
        runId = id
      })
      return connection
    },
    close: redis.close,
  }
  const limits = await openRateLimits(
    { limit: { ...noLimits, readPerMinute }, redis: { cluster: isCluster, sentinelName: 'x', prefix } },
    { redis: opened, log, metrics: countingMetrics(), ...(span && { span }), ...(timeoutMs && { timeoutMs }) },
  )
  const connected = () => until(() => runId !== undefined)
  await connected()
  return { limits, log, connected }
}

const newPrefix = () => `test-${crypto.randomUUID().slice(0, 13)}`

onEachRedis('limits that processes share', open => {
  test('what four processes let through at once is the limit, and never more', async () => {
    const server = { ...(await open()), timeoutMs: patientMs }
    for (const limit of [1, 3, 50, 1000]) {
      const prefix = newPrefix()
      const processes = await Promise.all([1, 2, 3, 4].map(() => openProcess({ ...server, prefix, readPerMinute: limit })))
      const outcomes = await Promise.all(
        processes.flatMap(({ limits }) => Array.from({ length: Math.ceil(limit / 2) }, () => ask(limits, 'read', asUser('1')))),
      )
      expect([limit, outcomes.filter(({ isLetThrough }) => isLetThrough).length]).toEqual([limit, limit])
    }
  })

  test('within no window, wherever it begins, more pass than the limit, and over many windows not much less', async () => {
    const server = { ...(await open()), timeoutMs: patientMs }
    const span = { windowMs: 600, bucketMs: 30, leaseMs: 30 }
    const limit = 120
    const prefix = newPrefix()
    const processes = await Promise.all([1, 2, 3, 4].map(() => openProcess({ ...server, prefix, span, readPerMinute: limit })))
    const passed: number[] = []
    const startMs = performance.now()
    const windows = 6
    const endMs = startMs + windows * span.windowMs
    await Promise.all(
      processes.map(async ({ limits }, i) => {
        while (performance.now() < endMs) {
          const { atMs, isLetThrough } = await ask(limits, 'read', asUser('1'))
          if (isLetThrough) passed.push(atMs)
          await Bun.sleep(isLetThrough ? 0 : i + 1)
        }
      }),
    )
    expect(mostWithin(passed, span.windowMs)).toBeLessThanOrEqual(limit)
    // Refusals are kept for half a second here, which is nearly a window: a minute loses less.
    expect(passed.length).toBeGreaterThan((windows * limit) / 3)
  })

  test('what one process has not used is there for the others', async () => {
    const server = { ...(await open()), timeoutMs: patientMs }
    const span = { windowMs: 60_000, bucketMs: 100, leaseMs: 100 }
    const shared = { ...server, prefix: newPrefix(), span, readPerMinute: 1000 }
    const one = await openProcess(shared)
    const other = await openProcess(shared)
    let passed = 0
    const go = async ({ limits }: typeof one, times: number) => {
      for (let i = 0; i < times; i++) if ((await ask(limits, 'read', asUser('1'))).isLetThrough) passed++
    }
    // Its leases have grown by now. Then it is nearly silent: each time it gives back what it has, and takes less.
    await go(one, 300)
    for (let i = 0; i < 3; i++) {
      await Bun.sleep(2 * span.leaseMs)
      await go(one, 1)
    }
    await go(other, 2000)
    expect(passed).toBeWithin(995, 1001)
  })
})

describeOnRedis('limits whose Redis fails', () => {
  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    test(`${signal}: each process counts for itself, nobody waits for long, and all share again afterwards`, async () => {
      await using redis = await startOwn('redis')
      const limit = 40
      const shared = { url: redis.url, prefix: newPrefix(), readPerMinute: limit }
      const one = await openProcess(shared)
      const other = await openProcess(shared)
      const passing = async ({ limits }: typeof one, user: string, times = 2 * limit) => {
        const outcomes = await Promise.all(Array.from({ length: times }, () => ask(limits, 'read', asUser(user))))
        return outcomes.filter(({ isLetThrough }) => isLetThrough).length
      }
      expect((await passing(one, 'before')) + (await passing(other, 'before'))).toBe(limit)

      if (signal === 'SIGKILL') await redis.kill()
      else redis.pause()
      const startMs = performance.now()
      expect(await passing(one, 'meanwhile')).toBe(limit)
      expect(await passing(other, 'meanwhile')).toBe(limit)
      // 100 ms each at most, and what a loaded machine adds.
      expect(performance.now() - startMs).toBeLessThan(1500)

      if (signal === 'SIGKILL') await redis.start()
      else redis.resume()
      // Until both have found it again, a new caller gets the limit twice.
      await until(async () => {
        const user = crypto.randomUUID()
        return (await passing(one, user)) + (await passing(other, user)) === limit
      }, 20_000)
    }, 40_000)
  }

  test('without Redis at the start it is the same', async () => {
    const log = fakeLog()
    const redis = openRedis('redis://127.0.0.1:1', { log })
    closers.push(() => redis.close())
    const limits = await openRateLimits(
      { limit: { ...noLimits, readPerMinute: 5 }, redis: { cluster: false, sentinelName: 'x', prefix: newPrefix() } },
      { redis, log, metrics: countingMetrics(), span: minute },
    )
    const outcomes = await Promise.all(Array.from({ length: 9 }, () => ask(limits, 'read', asUser('1'))))
    expect(outcomes.filter(({ isLetThrough }) => isLetThrough)).toHaveLength(5)
  })
})
