import { afterEach, expect, test } from 'bun:test'
import type { QueueDriver } from '@/infra/queue/driver'
import { heldOf, type Holding, longMs, type TestQueue } from './fixture'

const waitMs = 5000

/** What workers are told without asking. */
export function watchSuite(newQueue: () => TestQueue): void {
  const ends: (() => void)[] = []
  afterEach(() => {
    for (const end of ends.splice(0)) end()
  })

  /** Somebody who listens, and has begun to. */
  async function watching(queue: TestQueue, driver: QueueDriver) {
    const heard = { wakes: 0, cancelled: [] as string[] }
    ends.push(driver.watch(queue.name, { wake: () => heard.wakes++, cancelled: id => void heard.cancelled.push(id) }))
    // A word may get lost before the connection stands, so words are said until one is heard.
    await soon(async () => {
      await queue.enqueue({ priority: 9 })
      await Bun.sleep(20)
      return heard.wakes > 0
    })
    // More than there is, since a process that got all that it asked for may have enough, and is not woken.
    for (const { id } of await queue.claim(1000)) await queue.driver.cancel(queue.name, [id])
    await quiet(heard)
    return heard
  }

  /** What was said before has been heard, and is forgotten. */
  async function quiet(heard: { wakes: number; cancelled: string[] }): Promise<void> {
    await Bun.sleep(50)
    heard.wakes = 0
    heard.cancelled = []
  }

  /** The one that waits. */
  async function claimAll(queue: TestQueue): Promise<Holding> {
    const [held] = await queue.claim(9)
    if (!held) throw new Error('nothing was claimed')
    return held
  }

  async function soon(isSo: () => boolean | Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + waitMs
    while (!(await isSo())) {
      if (performance.now() > deadlineMs) throw new Error(`it was not so within ${waitMs} ms`)
      await Bun.sleep(2)
    }
  }

  for (const where of ['its own', 'another'] as const) {
    const enqueuer = ({ driver, rival }: TestQueue) => (where === 'another' ? rival : driver)

    test(`a worker is woken when something is enqueued by ${where} process`, async () => {
      const queue = newQueue()
      const heard = await watching(queue, queue.driver)
      await enqueuer(queue).enqueue(queue.name, [queue.newTask()])
      await soon(() => heard.wakes > 0)
      expect(await queue.claim(9)).toHaveLength(1)
    })

    test(`a worker is told when a task that runs is cancelled by ${where} process`, async () => {
      const queue = newQueue()
      const heard = await watching(queue, queue.driver)
      await queue.enqueue({ id: 'waits' }, { id: 'runs', priority: 0 })
      const held = await queue.claimOne()
      expect(await enqueuer(queue).cancel(queue.name, ['waits'])).toEqual(['cancelled'])
      expect(await enqueuer(queue).cancel(queue.name, [held.id])).toEqual(['cancelling'])
      await soon(() => heard.cancelled.length > 0)
      expect(heard.cancelled).toEqual(['runs'])
      expect((await queue.driver.beat(queue.name, longMs, [heldOf(held)])).cancelled).toEqual(['runs'])
    })

    test(`a worker is woken when ${where} process releases a task, or lets a dead letter be tried again`, async () => {
      const queue = newQueue()
      const heard = await watching(queue, queue.driver)
      await queue.enqueue({ id: 'a' })
      const held = await claimAll(queue)
      await quiet(heard)
      await enqueuer(queue).exchange(queue.name, { finish: [{ ...heldOf(held), outcome: 'release' }] })
      await soon(() => heard.wakes > 0)
      await queue.finish(await claimAll(queue), { outcome: 'dead', error: 'no', isFailure: false })
      await quiet(heard)
      await enqueuer(queue).retry(queue.name, ['a'])
      await soon(() => heard.wakes > 0)
    })
  }

  test('words of one queue are not heard in another, and nobody hears any when he has stopped listening', async () => {
    const [queue, other] = [newQueue(), newQueue()]
    const heard = await watching(queue, queue.driver)
    const stopped = await watching(other, other.driver)
    for (const end of ends.splice(1)) end()
    await other.enqueue({ id: 'a' })
    await other.driver.cancel(other.name, [(await claimAll(other)).id])
    await queue.enqueue({ id: 'b' })
    await queue.driver.cancel(queue.name, [(await claimAll(queue)).id])
    await soon(() => heard.wakes > 0 && heard.cancelled.length > 0)
    await Bun.sleep(50)
    expect(heard.cancelled).toEqual(['b'])
    expect(stopped).toEqual({ wakes: 0, cancelled: [] })
  })
}
