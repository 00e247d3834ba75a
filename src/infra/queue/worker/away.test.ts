import { expect, test } from 'bun:test'
import { handle } from '@/core/queue/task'
import { queueErrors } from '@/core/queue/queue'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { nothing, onEachStore } from '@/testing/worker'
import type { QueueDriver } from '../driver'

const count = numbered()

onEachStore('a worker whose queue does not always answer', newScene => {
  test('runs each task once, and leaves none, when answers get lost', async () => {
    const { enqueue, work, driver, queue, states } = newScene()
    let calls = 0
    const lossy: QueueDriver = {
      ...driver,
      async exchange(...said) {
        const reply = await driver.exchange(...said)
        if (++calls % 3 === 0) throw queueErrors.QueueUnavailable()
        return reply
      },
    }
    const runs = new Map<string, number>()
    await enqueue(count, 300)
    await using working = await work([handle(count, async (_, { id }) => void runs.set(id, (runs.get(id) ?? 0) + 1))], {
      driver: lossy,
      concurrency: 40,
    })
    await until(() => runs.size === 300, 20_000)
    await until(async () => JSON.stringify(await states()) === JSON.stringify(nothing), 20_000)
    expect([...runs.values()].every(times => times === 1)).toBe(true)
    // What was claimed without our knowing it was found, not left to the reaper.
    expect((await driver.stats(queue)).total).toMatchObject({ done: 300, crashed: 0 })
    expect(working.log.lines.filter(({ level }) => level === 'warn').length).toBeGreaterThan(0)
  }, 60_000)

  test('says how tasks ended when the queue is back, and goes on', async () => {
    const { enqueue, work, driver, queue } = newScene()
    let isAway = false
    const away: QueueDriver = {
      ...driver,
      exchange: (...said) => (isAway ? Promise.reject(queueErrors.QueueUnavailable()) : driver.exchange(...said)),
    }
    const { open, passed } = gate()
    let started = 0
    const wait = handle(count, async () => {
      started++
      await passed
    })
    await enqueue(count, 4)
    await using working = await work([wait], { driver: away })
    await until(() => started === 4)
    isAway = true
    await enqueue(count, 4)
    open()
    await until(() => working.ended('done') === 4)
    await until(() => working.metrics.count('bingo_queue_away_total', { queue }) > 3)
    expect((await driver.stats(queue)).total.done).toBe(0)
    isAway = false
    await until(async () => (await driver.stats(queue)).total.done === 8)
    expect(started).toBe(8)
    const said = working.log.lines.map(({ message }) => message)
    expect(said.filter(message => message.startsWith('the queue does not answer'))).toHaveLength(1)
    expect(said.filter(message => message === 'the queue is back')).toHaveLength(1)
  })

  test('gives back what it claimed so long ago that it may be somebody else’s', async () => {
    const { enqueue, work, driver, queue } = newScene()
    let isLate = true
    const late: QueueDriver = {
      ...driver,
      async exchange(name, said) {
        const reply = await driver.exchange(name, said)
        if (isLate && reply.claimed.length > 0) {
          isLate = false
          await Bun.sleep(leaseMs * 0.9)
        }
        return reply
      },
    }
    const leaseMs = 1000
    const seen: number[] = []
    await enqueue(count)
    await using working = await work([handle(count, async (_, { attempt }) => void seen.push(attempt))], { driver: late, leaseMs })
    await until(() => working.ended('done') === 1)
    expect(seen).toEqual([2])
    expect((await driver.stats(queue)).total.crashed).toBe(0)
  })

  test('starts when the queue is away, and works when it comes', async () => {
    const { enqueue, work, driver } = newScene()
    let isAway = true
    const refuse = () => Promise.reject(queueErrors.QueueUnavailable())
    const away: QueueDriver = {
      ...driver,
      exchange: (...said) => (isAway ? refuse() : driver.exchange(...said)),
      reap: (...said) => (isAway ? refuse() : driver.reap(...said)),
      beat: (...said) => (isAway ? refuse() : driver.beat(...said)),
    }
    await using working = await work([handle(count, async () => {})], { driver: away })
    await enqueue(count, 5)
    await Bun.sleep(300)
    isAway = false
    await until(() => working.ended('done') === 5)
  })
})
