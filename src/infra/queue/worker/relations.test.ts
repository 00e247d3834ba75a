import { expect, test } from 'bun:test'
import { type Queue, step } from '@/core/queue/queue'
import { defineTask, type EndedTask, giveUp, handle, result } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { until } from '@/testing/conformance/cache-fixture'
import { onEachStore, type Scene } from '@/testing/worker'
import type { QueueDriver } from '../driver'
import { percentilesOf, type Seen } from '../latency'
import { createQueue } from '../queue'

const add = defineTask('number.add', Type.Object({ n: Type.Integer() }), { maxRetries: 0 })
const sum = defineTask('number.sum', Type.Object({}))

const queueOn = ({ driver, queue }: Scene, backlogMax?: number): Queue =>
  createQueue({
    ...(backlogMax !== undefined && { rules: { [queue]: { backlogMax } } }),
    ...{ driver, tasks: [add, sum], queues: [queue], clock: { nowMs: Date.now }, payloadMaxBytes: 65_536 },
  }) as Queue

onEachStore('tasks that wait for others', newScene => {
  test('a chain of three: each has the result of the one before', async () => {
    const scene = newScene()
    const seen: [number, EndedTask[]][] = []
    const adding = handle(add, async ({ n }, context) => {
      const before = await context.before()
      seen.push([n, before])
      return result({ total: n + ((before[0]?.result as { total: number } | undefined)?.total ?? 0) })
    })
    await using _ = await scene.work([adding])
    const chain = [1, 10, 100].map(n => step(add, { n }))
    const [a, b] = await queueOn(scene).enqueueChain(chain, { queue: scene.queue })
    await until(() => seen.length === 3)
    expect(seen).toEqual([
      [1, []],
      [10, [{ id: a?.id as string, outcome: 'done', result: { total: 1 } }]],
      [100, [{ id: b?.id as string, outcome: 'done', result: { total: 11 } }]],
    ])
    await until(async () => (await scene.driver.stats(scene.queue)).total.done === 3)
  })

  test('what one is held for is no time that it has waited', async () => {
    const scene = newScene()
    const { driver, queue } = scene
    const seen: Seen[] = []
    const handedIn: QueueDriver = {
      ...driver,
      reap(name, rule) {
        if (rule.seen) seen.push(rule.seen)
        return driver.reap(name, rule)
      },
    }
    const slow = handle(add, async () => Bun.sleep(400))
    await using _ = await scene.work([slow], { driver: handedIn })
    await queueOn(scene).enqueueChain([step(add, { n: 1 }), step(add, { n: 2 })], { queue })
    await scene.enqueue(add, 1, { payload: { n: 3 } })
    const counted = (of: keyof Seen) => percentilesOf(seen.map(each => each[of]))?.count
    await until(() => counted('runs') === 3)
    expect(counted('waits')).toBe(2)
  })

  test('a batch of fifty: its last task starts once, when all have ended, and knows which one did not succeed', async () => {
    const scene = newScene()
    const queue = queueOn(scene)
    let ended = 0
    const summed: { before: EndedTask[]; ended: number }[] = []
    const adding = handle(add, async ({ n }) => {
      await Bun.sleep(n % 5)
      ended++
      if (n === 17) return giveUp('not this one')
      return result(n)
    })
    const summing = handle(sum, async (_, context) => void summed.push({ before: await context.before(), ended }))
    await using _ = await scene.work([adding, summing], { concurrency: 8 })
    const members = Array.from({ length: 50 }, (_, n) => step(add, { n }))
    const { tasks } = await queue.enqueueBatch(members, step(sum, {}), { queue: scene.queue, id: 'all-fifty' })
    await until(() => summed.length > 0)
    // Said again, nothing is done again.
    const again = await queue.enqueueBatch(members, step(sum, {}), { queue: scene.queue, id: 'all-fifty' })
    expect([...again.tasks, again.last].every(({ status }) => status === 'duplicate')).toBe(true)
    await until(async () => (await scene.driver.stats(scene.queue)).total.done === 50)
    expect(summed).toHaveLength(1)
    expect(summed[0]?.ended).toBe(50)
    expect(summed[0]?.before).toEqual(
      tasks.map(({ id }, n) => (n === 17 ? { id, outcome: 'dead' as const } : { id, outcome: 'done' as const, result: n })),
    )
    const { dead, held, waiting, total } = await scene.driver.stats(scene.queue)
    expect({ dead, held, waiting, enqueued: total.enqueued }).toEqual({ dead: 1, held: 0, waiting: 0, enqueued: 51 })
  })

  test('a chain and a batch are let in whole, or not at all, where no more than so many may wait', async () => {
    const scene = newScene()
    const bounded = queueOn(scene, 2)
    const members = Array.from({ length: 20 }, (_, n) => step(add, { n }))
    await bounded.enqueueBatch(members, step(sum, {}), { queue: scene.queue })
    expect(await scene.driver.stats(scene.queue)).toMatchObject({ held: 1, waiting: 20 })
    await expect(bounded.enqueueBatch(members, step(sum, {}), { queue: scene.queue })).rejects.toMatchObject({
      code: 'Unavailable.QueueFull',
    })
    await expect(bounded.enqueueChain(members, { queue: scene.queue })).rejects.toMatchObject({ code: 'Unavailable.QueueFull' })
    expect(await scene.driver.stats(scene.queue)).toMatchObject({ held: 1, waiting: 20, total: { enqueued: 21 } })
    let done = 0
    await using _ = await scene.work([handle(add, async () => void done++), handle(sum, async () => void done++)])
    await until(() => done === 21)
  })

  test('a batch that needs all done waits for a dead letter, and goes on when it is retried', async () => {
    const scene = newScene()
    let isBroken = true
    let summed = 0
    const adding = handle(add, async ({ n }) => (n === 1 && isBroken ? giveUp('broken') : undefined))
    const summing = handle(sum, async () => void summed++)
    await using _ = await scene.work([adding, summing])
    const members = [0, 1, 2].map(n => step(add, { n }))
    const { tasks, last } = await queueOn(scene).enqueueBatch(members, step(sum, {}), { queue: scene.queue, need: 'done' })
    await until(async () => (await scene.states()).dead === 1)
    await until(async () => (await scene.driver.show(scene.queue, last.id))?.heldFor === 1)
    isBroken = false
    await scene.driver.retry(scene.queue, [tasks[1]?.id as string])
    await until(() => summed === 1)
  })
})
