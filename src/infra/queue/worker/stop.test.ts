import { expect, test } from 'bun:test'
import { type AbortReason, handle, type TaskAborted } from '@/core/queue/task'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { nothing, onEachStore } from '@/testing/worker'
import { createWorker } from '.'

const count = numbered()

onEachStore('a worker that stops', newScene => {
  test('lets what runs end, says so, and starts nothing more', async () => {
    const { enqueue, work, driver, queue, states } = newScene()
    const { open, passed } = gate()
    let started = 0
    const wait = handle(count, async () => {
      started++
      await passed
    })
    await enqueue(count, 10)
    await using working = await work([wait], { concurrency: 3 })
    await until(() => started === 3)
    const stopping = working.stop()
    await Bun.sleep(50)
    open()
    await stopping
    expect(started).toBe(3)
    expect(await states()).toEqual({ ...nothing, waiting: 7 })
    expect((await driver.stats(queue)).total.done).toBe(3)
  })

  test('tells what does not end to end, gives it back uncounted to the head of its line, and does not wait for it', async () => {
    const { enqueue, work, driver, rival, queue, states } = newScene()
    const reasons: AbortReason[] = []
    const { open, passed } = gate()
    let started = 0
    const obedient = handle(count, async ({ n }, { signal }) => {
      started++
      if (n === 2) return passed
      await new Promise<void>((_, reject) =>
        signal.addEventListener('abort', () => {
          reasons.push((signal.reason as TaskAborted).reason)
          reject(signal.reason)
        }),
      )
    })
    const ids = await enqueue(count, 5)
    await using working = await work([obedient], { concurrency: 3, graceMs: 100, limits: { lastChanceMs: 100 } })
    await until(() => started === 3)
    const beforeMs = performance.now()
    await working.stop()
    expect(performance.now() - beforeMs).toBeLessThan(1000)
    expect(reasons).toEqual(['shutdown', 'shutdown'])
    expect(await states()).toEqual({ ...nothing, waiting: 5 })
    expect((await driver.stats(queue)).total).toMatchObject({ failed: 0, crashed: 0, cancelled: 0 })
    const claim = { worker: 'other:1', nonce: 'nonce-of-another', count: 3, leaseMs: 60_000 }
    const { claimed } = await rival.exchange(queue, { claim })
    expect(claimed.map(({ id }) => id).toSorted()).toEqual(ids.slice(0, 3).toSorted())
    expect(claimed.every(({ failures, crashes }) => failures === 0 && crashes === 0)).toBe(true)
    open()
  })

  test('under load leaves no task behind in its hands', async () => {
    const { enqueue, work, driver, queue, states } = newScene()
    await enqueue(count, 1000)
    let ran = 0
    const short = handle(count, async () => {
      ran++
      await Bun.sleep(1)
    })
    await using working = await work([short], { concurrency: 20 })
    await until(() => ran > 200)
    await working.stop()
    const { waiting, ...rest } = await states()
    expect(rest).toEqual({ scheduled: 0, active: 0, dead: 0 })
    expect(waiting).toBe(1000 - ran)
    expect((await driver.stats(queue)).total).toMatchObject({ done: ran, failed: 0, crashed: 0 })
  })

  test('before it was started does nothing, and does not start then', async () => {
    const { driver, queue, enqueue, states } = newScene()
    await enqueue(count)
    const tools = { driver, leaseMs: 1000, graceMs: 1000, heartbeats: { driver }, log: fakeLog(), metrics: fakeMetrics() }
    const worker = createWorker({ ...tools, queues: { [queue]: { concurrency: 1 } }, handlers: [handle(count, async () => {})] })
    await worker.stop()
    await worker.stop()
    expect(await states()).toEqual({ ...nothing, waiting: 1 })
  })
})
