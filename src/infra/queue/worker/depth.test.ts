import { expect, test } from 'bun:test'
import { handle } from '@/core/queue/task'
import { createMetrics } from '@/infra/metrics'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { onEachStore } from '@/testing/worker'
import { createQueueAdmin } from '../admin'

const count = numbered()

onEachStore('what a process that works a queue shows of it', newScene => {
  test('is how many are in which state, and since when the first waits, until it stops', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const metrics = createMetrics({ version: '0', roles: [] })
    const opened = gate()
    await enqueue(count, 3)
    await enqueue(count, 2, { delayMs: 3_600_000 })
    const blocked = handle(count, () => opened.passed)
    const working = await work([blocked], { concurrency: 1, metrics })
    const seriesOf = async (name: string) => {
      const { text } = await metrics.expose()
      const lines = text.split('\n').filter(line => line.startsWith(`${name}{`))
      return Object.fromEntries(lines.map(line => [/state="(\w+)"/.exec(line)?.[1] ?? '', Number(line.split(' ').at(-1))]))
    }
    const all = { waiting: 2, scheduled: 2, held: 0, active: 1, done: 0, dead: 0 }
    await until(async () => Bun.deepEquals(await seriesOf('bingo_queue_tasks'), all), 15_000)
    expect((await metrics.expose()).text).toContain(`bingo_queue_tasks{queue="${queue}",state="waiting"} 2`)
    expect((await seriesOf('bingo_queue_oldest_seconds'))['']).toBeGreaterThan(0)
    expect(await seriesOf('bingo_queue_paused')).toEqual({ '': 0 })
    opened.open()
    await working.stop()
    expect(await seriesOf('bingo_queue_tasks')).toEqual({})
    expect((await driver.stats(queue)).scheduled).toBe(2)
  }, 30_000)

  test('is, in numbers that its reaper hands in, how long tasks waited and ran', async () => {
    const { enqueue, work, driver, queue } = newScene()
    await enqueue(count, 20, { said: { delayMs: 0 } })
    await using _ = await work([handle(count, () => Bun.sleep(30))], { concurrency: 20 })
    const admin = createQueueAdmin({ driver, queues: [queue], seal: { close: text => text, open: text => text }, leaseMs: 1200 })
    await until(async () => (await admin.stats(queue)).latencies?.run?.count === 20, 15_000)
    const { latencies } = await admin.stats(queue)
    expect(latencies?.wait?.count).toBe(20)
    expect(latencies?.run?.p50Ms).toBeGreaterThan(25)
    expect(latencies?.run?.p50Ms).toBeLessThan(5000)
  }, 30_000)
})
