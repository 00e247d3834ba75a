import { describe, expect, test } from 'bun:test'
import { historyMs, snapshotEveryMs } from '@/infra/queue/driver'
import type { Seen } from '@/infra/queue/latency'
import type { TestQueue } from './fixture'
import type { QueueStoreName } from './stores'

const none = { enqueued: 0, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 0 }
const rule = { leaseMs: 60_000, crashesMax: 3 }

/** What reapers take note of, so that operators see how a queue goes. */
export function historySuite(newQueue: () => TestQueue, on: QueueStoreName): void {
  const reap = ({ driver, name }: TestQueue, seen?: Seen) => driver.reap(name, seen ? { ...rule, seen } : rule)

  test('of a queue that nobody has worked there is none', async () => {
    const { enqueue, driver, name } = newQueue()
    await enqueue({})
    expect(await driver.history(name)).toEqual([])
  })

  test('what processes have seen is added up, with what had been counted when the first of them said so', async () => {
    const queue = newQueue()
    const { enqueue, claimOne, finish, driver, rival, name } = queue
    await enqueue({}, {}, {})
    await finish(await claimOne(), { outcome: 'done' })
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    await reap(queue, { waits: { 0: 2, 17: 1 }, runs: { 40: 3 } })
    await finish(await claimOne(), { outcome: 'done' })
    await reap(queue)
    await rival.reap(name, { ...rule, seen: { waits: { 17: 4, 129: 1 }, runs: {} } })
    const [newest, ...older] = await driver.history(name)
    expect(older).toEqual([])
    expect(newest).toMatchObject({
      total: { ...none, enqueued: 3, done: 1, failed: 1, dead: 1 },
      seen: { waits: { 0: 2, 17: 5, 129: 1 }, runs: { 40: 3 } },
    })
    expect(newest?.agoMs).toBeGreaterThanOrEqual(0)
    expect(newest?.agoMs).toBeLessThan(snapshotEveryMs)
  })

  test('leaves nothing of a queue behind', async () => {
    const queue = newQueue()
    await reap(queue, { waits: { 3: 1 }, runs: { 3: 1 } })
    expect(await queue.store.leftovers(queue.name)).toEqual([])
  })

  if (on !== 'model' && on !== 'sqlite') return
  describe('as time passes', () => {
    test('there is a snapshot each ten seconds at most, newest first, and none is older than an hour', async () => {
      const queue = newQueue()
      for (let i = 0; i < historyMs / 9000 + 20; i++) {
        await queue.enqueue({})
        await reap(queue, { waits: { 1: 1 }, runs: {} })
        await queue.store.advance(9000)
      }
      const history = await queue.driver.history(queue.name)
      const agos = history.map(({ agoMs }) => agoMs)
      expect(agos).toEqual(agos.toSorted((a, b) => a - b))
      expect(agos.at(-1)).toBeLessThanOrEqual(historyMs)
      expect(agos.at(-1)).toBeGreaterThan(historyMs - 2 * snapshotEveryMs)
      expect(history.length).toBe(200)
      expect(agos.every((agoMs, i) => i === 0 || agoMs - (agos[i - 1] ?? 0) >= snapshotEveryMs)).toBe(true)
      // Each has what came until the next: every nine seconds one.
      expect(history.slice(1).every(({ seen }) => seen.waits[1] === 2)).toBe(true)
      const totals = history.map(({ total }) => total.enqueued)
      expect(totals.every((enqueued, i) => i === 0 || (totals[i - 1] ?? 0) - enqueued === 2)).toBe(true)
    }, 60_000)

    test('what happens after a quiet time is not spread over it', async () => {
      const queue = newQueue()
      for (let i = 0; i < 100; i++) {
        await reap(queue)
        await queue.store.advance(4000)
      }
      await queue.enqueue({}, {})
      await queue.store.advance(snapshotEveryMs)
      await reap(queue)
      const history = await queue.driver.history(queue.name)
      expect(history[0]?.total.enqueued).toBe(2)
      expect(history[1]?.total.enqueued).toBe(0)
      expect(history[1]?.agoMs).toBeLessThanOrEqual(2 * snapshotEveryMs)
    }, 60_000)
  })
}
