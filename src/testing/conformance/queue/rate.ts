import { describe, expect, test } from 'bun:test'
import type { Claim, ClaimLimits, RateLimit } from '@/infra/queue/driver'
import { type Holding, longMs, newNonce, shortMs, type TestQueue } from './fixture'

/** So slow that nothing is added while a test runs. */
const slow = (burst: number): RateLimit => ({ intervalMs: longMs, burst })

/** How fast attempts are started. */
export function rateSuite(newQueue: () => TestQueue): void {
  const idsOf = (held: readonly Holding[]) => held.map(({ id }) => id)
  const exchange = ({ driver, name }: TestQueue, limits: ClaimLimits, over: Partial<Claim> = {}) =>
    driver.exchange(name, { claim: { worker: 'host:1', nonce: newNonce(), count: 9, leaseMs: longMs, limits, ...over } })
  const many = (count: number, lane?: string) => Array.from({ length: count }, () => (lane === undefined ? {} : { lane }))

  const kinds: Record<string, { limits: (rate: RateLimit) => ClaimLimits; lane?: string }> = {
    'of a queue': { limits: rate => ({ rate, lanes: {} }) },
    'of a queue with lanes': { limits: rate => ({ rate, lanes: {} }), lane: 'mail/a' },
    'of a lane': { limits: rate => ({ lanes: { mail: { rate } } }), lane: 'mail/a' },
  }
  for (const [kind, { limits, lane }] of Object.entries(kinds)) {
    describe(kind, () => {
      test('lets so many start at once as its burst says, and then none, over all processes', async () => {
        const queue = newQueue()
        await queue.enqueue(...many(9, lane))
        expect(await queue.claim(2, { limits: limits(slow(3)) })).toHaveLength(2)
        const claim = { worker: 'host:2', nonce: newNonce(), count: 9, leaseMs: longMs, limits: limits(slow(3)) }
        expect((await queue.rival.exchange(queue.name, { claim })).claimed).toHaveLength(1)
        expect(await queue.claim(9, { limits: limits(slow(3)) })).toEqual([])
      })

      test('says when the next may start, and not that it may at once', async () => {
        const queue = newQueue()
        const { store } = queue
        const rate = { intervalMs: shortMs, burst: 1 }
        await queue.enqueue(...many(3, lane))
        const { claimed, nextDueMs = 0 } = await exchange(queue, limits(rate))
        expect(claimed).toHaveLength(1)
        expect(nextDueMs).toBeGreaterThan(0)
        expect(nextDueMs).toBeLessThanOrEqual(shortMs)
        await store.advance(nextDueMs + (store.isTimeReal ? 1 : 0))
        expect((await exchange(queue, limits(rate))).claimed).toHaveLength(1)
      })

      test('is no reason to look again when nothing waits', async () => {
        const queue = newQueue()
        await queue.enqueue(...many(1, lane))
        const reply = await exchange(queue, limits(slow(1)))
        expect(reply.claimed).toHaveLength(1)
        expect(reply).not.toHaveProperty('nextDueMs')
      })

      test('says 0 only when more may start at once', async () => {
        const queue = newQueue()
        await queue.enqueue(...many(9, lane))
        expect((await exchange(queue, limits(slow(3)), { count: 2 })).nextDueMs).toBe(0)
        expect((await exchange(queue, limits(slow(3)), { count: 1 })).nextDueMs).toBeGreaterThan(longMs - 60_000)
      })

      test('counts attempts, not tasks: one that is tried again has used it twice', async () => {
        const queue = newQueue()
        await queue.enqueue(...many(1, lane))
        for (let i = 0; i < 2; i++) {
          const [held] = await queue.claim(9, { limits: limits(slow(2)) })
          expect(await queue.finish(held as Holding, { outcome: 'retry', delayMs: 0, error: 'no' })).toBe('ok')
        }
        expect(await queue.claim(9, { limits: limits(slow(2)) })).toEqual([])
      })

      test('is used once by a claim that is made again', async () => {
        const queue = newQueue()
        const { driver, rival, name } = queue
        await queue.enqueue(...many(5, lane))
        const claim = { worker: 'host:1', nonce: newNonce(), count: 1, leaseMs: longMs, limits: limits(slow(2)) }
        const { claimed } = await driver.exchange(name, { claim })
        for (const each of [driver, rival, driver]) expect((await each.exchange(name, { claim })).claimed).toEqual(claimed)
        expect(await queue.claim(9, { limits: limits(slow(2)) })).toHaveLength(1)
      })

      test('is kept over a while, whatever pauses there are', async () => {
        const queue = newQueue()
        const { store, claim, driver, name, newTask } = queue
        const rate = { intervalMs: 2.5, burst: 4 }
        await driver.enqueue(
          name,
          Array.from({ length: 900 }, () => newTask(lane === undefined ? {} : { lane })),
        )
        const sinceMs = await store.nowMs()
        let started = 0
        let lastMs = sinceMs
        for (let i = 0; (await store.nowMs()) - sinceMs < 1000; i++) {
          started += (await claim(50, { limits: limits(rate) })).length
          lastMs = await store.nowMs()
          expect(started).toBeLessThanOrEqual(rate.burst + (lastMs - sinceMs + 1) / rate.intervalMs)
          await store.advance(i % 3 === 0 ? 1 : 3)
        }
        // Where time is real, a pause may have been longer than a burst makes up for.
        if (!store.isTimeReal) expect(started).toBeGreaterThan(((lastMs - sinceMs) / rate.intervalMs) * 0.98)
        expect(started).toBeGreaterThan(10)
      })

      test('of several in a ms is kept as well', async () => {
        const queue = newQueue()
        const { store } = queue
        // The burst that makes up for pauses, as long as time is real.
        const rate = { intervalMs: 0.3, burst: store.isTimeReal ? 100 : 1 }
        for (let i = 0; i < 2; i++) await queue.enqueue(...many(500, lane))
        const sinceMs = await store.nowMs()
        // Where time is real, more than the burst, however seldom the machine lets this test ask.
        const startedMin = store.isTimeReal ? 100 : 300
        let started = 0
        let passedMs = 0
        while (passedMs < 100 || (store.isTimeReal && started <= startedMin)) {
          const claimed = (await queue.claim(50, { limits: limits(rate) })).length
          started += claimed
          passedMs = (await store.nowMs()) - sinceMs
          expect(started).toBeLessThanOrEqual(Math.max(rate.burst, 1 / rate.intervalMs) + (passedMs + 1) / rate.intervalMs)
          if (started > 900) break
          await store.advance(1)
        }
        expect(started).toBeGreaterThan(startedMin)
      })

      test('that is raised holds nothing back any longer than it says itself', async () => {
        const queue = newQueue()
        const { store } = queue
        const fast: RateLimit = { intervalMs: 10, burst: 2 }
        await queue.enqueue(...many(9, lane))
        expect(await queue.claim(9, { limits: limits(slow(1)) })).toHaveLength(1)
        expect(await queue.claim(9, { limits: limits(slow(1)) })).toEqual([])
        const { claimed, nextDueMs = longMs } = await exchange(queue, limits(fast))
        if (claimed.length === 0) expect(nextDueMs).toBeLessThanOrEqual(fast.intervalMs)
        const sinceMs = await store.nowMs()
        const startedMax = async () => fast.burst + ((await store.nowMs()) - sinceMs + 1) / fast.intervalMs
        let started = claimed.length
        await queue.until(async () => {
          started += (await exchange(queue, limits(fast))).claimed.length
          expect(started).toBeLessThanOrEqual(await startedMax())
          return started === 8
        })
      })

      test('that is no more holds nothing back', async () => {
        const queue = newQueue()
        await queue.enqueue(...many(9, lane))
        await queue.claim(9, { limits: limits(slow(1)) })
        expect(await queue.claim(9, { limits: limits(slow(1)) })).toEqual([])
        expect(await queue.claim(9, { limits: { lanes: {} } })).toHaveLength(8)
      })

      test('does not save up more than its burst', async () => {
        const queue = newQueue()
        const { store } = queue
        await queue.enqueue(...many(9, lane))
        await queue.claim(1, { limits: limits({ intervalMs: 10, burst: 2 }) })
        await store.advance(200)
        expect(await queue.claim(9, { limits: limits({ intervalMs: 100_000, burst: 2 }) })).toHaveLength(2)
      })
    })
  }

  test('of a lane is that of its key alone, and holds up nobody else', async () => {
    const queue = newQueue()
    const limits: ClaimLimits = { lanes: { mail: { rate: slow(1) } } }
    await queue.enqueue(...['a1', 'a2'].map(id => ({ id, lane: 'mail/a', priority: 0 })), { id: 'plain', priority: 9 })
    await queue.enqueue({ id: 'b', lane: 'mail/b', priority: 5 }, { id: 'x', lane: 'other', priority: 6 })
    expect(idsOf(await queue.claim(9, { limits }))).toEqual(['a1', 'b', 'x', 'plain'])
  })

  test('of a lane that has ended is remembered, so that what comes later does not start too soon', async () => {
    const queue = newQueue()
    const limits: ClaimLimits = { lanes: { mail: { rate: slow(1) } } }
    await queue.enqueue({ lane: 'mail/a' })
    const [held] = await queue.claim(9, { limits })
    await queue.finish(held as Holding, { outcome: 'done' })
    expect(await queue.store.leftovers(queue.name)).toEqual([])
    await queue.enqueue({ lane: 'mail/a' })
    expect(await queue.claim(9, { limits })).toEqual([])
    expect((await exchange(queue, limits)).nextDueMs).toBeGreaterThan(longMs - 60_000)
  })

  test('and a number that run are kept both', async () => {
    const queue = newQueue()
    const { store, claim, finish } = queue
    const limits: ClaimLimits = { lanes: { mail: { concurrency: 1, rate: { intervalMs: shortMs, burst: 1 } } } }
    await queue.enqueue(...many(5, 'mail/a'))
    const [first] = await claim(9, { limits })
    await store.advance(shortMs + 5)
    expect(await claim(9, { limits })).toEqual([])
    await finish(first as Holding, { outcome: 'done' })
    const [second] = await claim(9, { limits })
    await finish(second as Holding, { outcome: 'done' })
    const reply = await exchange(queue, limits)
    expect(reply.claimed).toEqual([])
    expect(reply.nextDueMs).toBeGreaterThan(0)
    expect(reply.nextDueMs).toBeLessThanOrEqual(shortMs)
  })
}
