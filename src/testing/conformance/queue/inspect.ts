import { describe, expect, test } from 'bun:test'
import { type TaskState, taskStates } from '@/core/queue/admin'
import { findingsOf, longMs, type TestQueue } from './fixture'

/** What operators see. */
export function inspectSuite(newQueue: () => TestQueue): void {
  /** So many tasks in each state. */
  async function filled(each: number): Promise<TestQueue> {
    const queue = newQueue()
    const { enqueue, claimOne, finish, claim, store } = queue
    for (let i = 0; i < each; i++) {
      await enqueue({ priority: 0 })
      await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
      await enqueue({ priority: 0 })
      await finish(await claimOne(), { outcome: 'done', keepForMs: longMs })
      await store.advance(2)
    }
    await enqueue(...Array.from({ length: each }, () => ({ priority: 0 })))
    await claim(each)
    await enqueue(...Array.from({ length: each }, (_, i) => ({ delayMs: longMs + i * 1000 })))
    await enqueue(...Array.from({ length: each }, (_, i) => ({ priority: (i * 7) % 10 })))
    for (let i = 0; i < each; i++) {
      await enqueue({ priority: (i * 7) % 10, after: { count: 1, isDoneNeeded: false } })
      await store.advance(2)
    }
    return queue
  }

  async function pages({ driver, name }: TestQueue, state: TaskState, count: number): Promise<string[][]> {
    const all: string[][] = []
    let cursor: string | undefined
    do {
      const page = await driver.list(name, state, count, cursor)
      all.push(page.tasks.map(({ id }) => id))
      cursor = page.cursor
    } while (cursor !== undefined && all.length < 100)
    return all
  }

  describe('a list', () => {
    test('of an empty queue is empty, in each state', async () => {
      const { driver, name } = newQueue()
      for (const state of ['waiting', 'scheduled', 'active', 'dead'] as const)
        expect(await driver.list(name, state, 10)).toEqual({ tasks: [] })
    })

    for (const state of taskStates) {
      test(`of ${state} ones is in their order, and the same by pages of any size`, async () => {
        const queue = await filled(12)
        const whole = await queue.ids(state)
        expect(whole).toHaveLength(12)
        for (const count of [1, 5, 6, 12, 13]) {
          const found = await pages(queue, state, count)
          expect(found.flat()).toEqual(whole)
          for (const page of found) expect(page.length).toBeLessThanOrEqual(count)
        }
      })
    }

    test('shows each task as it is shown alone', async () => {
      const { driver, name } = await filled(3)
      for (const state of taskStates) {
        for (const task of (await driver.list(name, state, 10)).tasks) {
          expect(task.state).toBe(state)
          expect([await driver.show(name, task.id)]).toEqual([task])
        }
      }
    })

    test('of waiting ones is the order in which they are claimed', async () => {
      const { ids, claim } = await filled(12)
      const listed = await ids('waiting')
      expect((await claim(100)).map(({ id }) => id)).toEqual(listed)
    })

    test('of scheduled ones is by their time, of dead ones by their end, newest first', async () => {
      const { driver, name } = await filled(5)
      const times = async (state: TaskState) => (await driver.list(name, state, 10)).tasks.map(({ atMs = 0 }) => atMs)
      const scheduled = await times('scheduled')
      const dead = await times('dead')
      expect(scheduled).toEqual(scheduled.toSorted((a, b) => a - b))
      expect(dead).toEqual(dead.toSorted((a, b) => b - a))
      expect(new Set([...scheduled, ...dead]).size).toBe(10)
    })
  })

  test('what is not there is not shown', async () => {
    const { show } = newQueue()
    expect(await show('nobody')).toBeUndefined()
  })

  describe('stats', () => {
    test('of an empty queue are zeros', async () => {
      const { driver, name } = newQueue()
      expect(await driver.stats(name)).toEqual({
        ...{ waiting: 0, scheduled: 0, held: 0, active: 0, done: 0, dead: 0, isPaused: false },
        total: { enqueued: 0, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 0 },
      })
    })

    test('agree with the lists', async () => {
      const { driver, name, ids } = await filled(7)
      const { total, oldestWaitingMs, ...counts } = await driver.stats(name)
      expect(counts).toEqual({ waiting: 7, scheduled: 7, held: 7, active: 7, done: 7, dead: 7, isPaused: false })
      for (const state of taskStates) expect(await ids(state)).toHaveLength(counts[state])
      expect(total).toMatchObject({ enqueued: 42, failed: 7, dead: 7, done: 7 })
    })

    test('count what has ended, and how', async () => {
      const { enqueue, claimOne, finish, driver, name, store, trust, reap } = newQueue()
      await trust()
      await enqueue({ id: 'done' }, { id: 'cancelled' }, { id: 'died' }, { id: 'crashed' }, { id: 'stopped' })
      await finish(await claimOne(), { outcome: 'done' })
      await finish(await claimOne(), { outcome: 'cancelled' })
      await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
      await claimOne({ leaseMs: 1 })
      await store.advance(5)
      await reap()
      await finish(await claimOne(), { outcome: 'retry', delayMs: longMs, error: 'no' })
      await driver.cancel(name, ['stopped'])
      await enqueue({ id: 'died' })
      expect((await driver.stats(name)).total).toEqual({ enqueued: 5, done: 1, failed: 2, crashed: 1, dead: 1, cancelled: 2 })
    })

    test('say how long the first in line could have been started', async () => {
      const { enqueue, driver, name, store, claim } = newQueue()
      await enqueue({ id: 'a' })
      await store.advance(50)
      await enqueue({ id: 'b', delayMs: longMs })
      const { oldestWaitingMs } = await driver.stats(name)
      expect(oldestWaitingMs).toBeGreaterThanOrEqual(49)
      expect(oldestWaitingMs).toBeLessThan(60_000)
      await claim(9)
      expect(await driver.stats(name)).not.toHaveProperty('oldestWaitingMs')
    })
  })

  describe('a check', () => {
    test('of a healthy queue finds nothing, and changes nothing', async () => {
      const { driver, name, all } = await filled(12)
      const before = await all()
      for (const fix of [false, true]) expect(await findingsOf(driver, name, fix)).toEqual([])
      expect(await all()).toEqual(before)
    })
  })

  test('a store that is there answers, and a client that was closed does not', async () => {
    const { store, name, newTask } = newQueue()
    const other = await store.open()
    await other.ping()
    await other.close()
    for (const call of [() => other.ping(), () => other.stats(name), () => other.enqueue(name, [newTask()])]) {
      expect(
        await call().then(
          () => 'answered',
          thrown => thrown.code,
        ),
      ).toBe('Unavailable.QueueUnavailable')
    }
  })
}
