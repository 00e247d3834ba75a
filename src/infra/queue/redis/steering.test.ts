import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { lossyProxy } from '@/testing/lossy-proxy'
import { lanesAmiss } from '@/testing/redis-lanes'
import { finishAs, leaseMs, newNonce, newTask, openSubject, type RedisQueueSubject, until } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import type { ClaimLimits, Exchange, QueueDriver } from '../driver'
import { exchangeRichScript } from './scripts/exchange'

const queue = 'q'
const hourMs = 3_600_000
const claimOf = (limits: ClaimLimits, count = 1) => ({ worker: 'w', nonce: newNonce(), count, leaseMs, limits })
const claimed = async (driver: QueueDriver, limits: ClaimLimits, count = 1) => {
  const claim = claimOf(limits, count)
  const reply = await driver.exchange(queue, { claim })
  return { ...reply, held: { tasks: reply.claimed, nonce: claim.nonce } }
}
/** Of each of so many lanes so many tasks. */
async function fill({ driver }: RedisQueueSubject, lanes: number, each: number): Promise<void> {
  const tasks = Array.from({ length: lanes * each }, (_, i) => newTask({ lane: `many/${i % lanes}` }))
  for (let i = 0; i < tasks.length; i += 1000) await driver.enqueue(queue, tasks.slice(i, i + 1000))
}
/** The mean time that Redis takes for a claim, in ms. */
async function claimMs({ driver, raw }: RedisQueueSubject, limits: ClaimLimits, times: number): Promise<number> {
  await raw.config('RESETSTAT')
  for (let i = 0; i < times; i++) {
    const { held } = await claimed(driver, limits, 5)
    if (held.tasks.length > 0) await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
  }
  return Number(/cmdstat_evalsha:.*usec_per_call=([\d.]+)/.exec(await raw.info('commandstats'))?.[1]) / 1000
}

describeOnRedis('a claim under limits', () => {
  test('that is said again since its answer was lost takes no more of a rate, nor of what may run', async () => {
    await using server = await startOwn('redis')
    const proxy = lossyProxy(server.port)
    await using subject = await openSubject(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 3000 })
    const { driver } = subject
    const limits: ClaimLimits = {
      rate: { intervalMs: hourMs, burst: 5 },
      lanes: { many: { concurrency: 4, rate: { intervalMs: hourMs, burst: 3 } } },
    }
    await fill(subject, 1, 9)
    await claimed(driver, limits)
    proxy.loseAnswers(2, exchangeRichScript.sha)
    expect((await claimed(driver, limits)).claimed).toHaveLength(1)
    expect(proxy.lost).toBe(2)
    expect((await claimed(driver, limits, 9)).claimed).toHaveLength(1)
    await driver.enqueue(
      queue,
      Array.from({ length: 9 }, () => newTask()),
    )
    expect((await claimed(driver, limits, 9)).claimed).toHaveLength(2)
    proxy[Symbol.dispose]()
  })

  test('by who has room for no more leaves a word, so that who is idle learns when a rate lets the next start', async () => {
    await using server = await startOwn('redis')
    await using one = await openSubject(server.url, { prefix: 'bingo' })
    await using other = await openSubject(server.url, { prefix: 'bingo' })
    const limits: ClaimLimits = { lanes: { many: { rate: { intervalMs: 60_000, burst: 1 } } } }
    let wakes = 0
    const end = other.driver.watch(queue, { wake: () => wakes++, cancelled: () => {} })
    await until(() => wakes > 0)
    expect((await claimed(other.driver, limits, 9)).nextDueMs).toBeUndefined()
    await fill(one, 1, 2)
    await until(() => wakes > 1)
    wakes = 0
    // The token of the enqueue was taken; that of the claim is another.
    expect((await claimed(one.driver, limits)).claimed).toHaveLength(1)
    await until(() => wakes > 0)
    const { claimed: none, nextDueMs } = await claimed(other.driver, limits, 9)
    expect(none).toEqual([])
    expect(nextDueMs).toBeGreaterThan(50_000)
    end()
  })

  test('lets lanes go on that were put aside under others', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver } = subject
    await fill(subject, 700, 2)
    const daily: ClaimLimits = { lanes: { many: { rate: { intervalMs: 24 * hourMs, burst: 1 } } } }
    for (let i = 0; i < 2; i++) await claimed(driver, daily, 400)
    expect((await claimed(driver, daily, 400)).claimed).toEqual([])
    const quick: ClaimLimits = { lanes: { many: { rate: { intervalMs: 24 * hourMs, burst: 2 } } } }
    let count = 0
    await until(async () => {
      count += (await claimed(driver, quick, 400)).claimed.length
      return count === 700
    })
    expect([await lanesAmiss(subject, queue), (await driver.stats(queue)).waiting]).toEqual([[], 0])
  })

  test('gets what may start beside ten thousand lanes that may not, in little time', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver } = subject
    for (const limits of [
      { lanes: { many: { rate: { intervalMs: 24 * hourMs, burst: 1 } } } },
      { lanes: { many: { concurrency: 1 } } },
    ] satisfies ClaimLimits[]) {
      await subject.raw.flushdb()
      await fill(subject, 10_000, 2)
      for (let i = 0; i < 10; i++) expect((await claimed(driver, limits, 1000)).claimed).toHaveLength(1000)
      expect((await claimed(driver, limits, 9)).claimed).toEqual([])
      await driver.enqueue(
        queue,
        Array.from({ length: 100 }, (_, i) => newTask(i % 2 === 0 ? {} : { lane: `few/${i % 3}` })),
      )
      expect(await claimMs(subject, limits, 20)).toBeLessThan(5)
      expect(await driver.stats(queue)).toMatchObject({ waiting: 10_000, active: 10_000 })
    }
  }, 60_000)

  test('is not kept waiting by a tenant with a hundred thousand tasks', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver } = subject
    const limits: ClaimLimits = { lanes: { many: { concurrency: 4 } } }
    for (let i = 0; i < 100; i++)
      await driver.enqueue(
        queue,
        Array.from({ length: 1000 }, () => newTask({ lane: 'many/large' })),
      )
    await fill(subject, 20, 100)
    const first = await claimed(driver, limits, 100)
    // Four of each of the 21.
    expect(first.claimed).toHaveLength(84)
    let finish = finishAs(first.held, { outcome: 'done' })
    for (let claims = 1; claims < 25; claims++) {
      const said: Exchange = { finish, claim: claimOf(limits, 100) }
      const { claimed: tasks } = await driver.exchange(queue, said)
      expect(tasks).toHaveLength(84)
      finish = finishAs({ tasks, nonce: said.claim?.nonce ?? '' }, { outcome: 'done' })
    }
    // All of the small ones were claimed meanwhile.
    expect(await driver.stats(queue)).toMatchObject({ waiting: 99_900 })
    expect(await lanesAmiss(subject, queue)).toEqual([])
  }, 30_000)
})
