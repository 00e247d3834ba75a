import { describe, expect, test } from 'bun:test'
import { type Holding, longMs, type TestQueue } from './fixture'

/** What is done with tasks that ended badly, and with tasks that are to go. */
export function deadSuite(newQueue: () => TestQueue): void {
  const die = (queue: TestQueue, held: Holding) => queue.finish(held, { outcome: 'dead', error: 'never', isFailure: true })

  async function queueWithDead(): Promise<TestQueue> {
    const queue = newQueue()
    await queue.enqueue({ id: 'a', priority: 3, envelope: '["kept"]' })
    await queue.finish(await queue.claimOne(), { outcome: 'retry', delayMs: 0, error: 'no' })
    await die(queue, await queue.claimOne())
    return queue
  }

  test('a dead letter stays, with what is known of it and when it died, and is not claimed', async () => {
    const { show, claim, store, reap, trust } = await queueWithDead()
    const dead = await show('a')
    expect(dead).toMatchObject({
      state: 'dead',
      priority: 3,
      envelope: '["kept"]',
      attempt: 2,
      failures: 2,
      crashes: 0,
      isCancelled: false,
    })
    expect(dead?.errors).toMatchObject([
      { attempt: 1, message: 'no' },
      { attempt: 2, message: 'never' },
    ])
    const nowMs = await store.nowMs()
    expect(dead?.atMs).toBeLessThanOrEqual(nowMs)
    expect(dead?.atMs).toBeGreaterThan(nowMs - 60_000)
    await trust()
    await reap()
    expect(await claim(9)).toEqual([])
    expect([await show('a')]).toEqual([dead])
  })

  test('why it died is an error of it also where that counts as no failure', async () => {
    const { enqueue, claimOne, finish, show, driver, name } = newQueue()
    await enqueue({ id: 'a' })
    await finish(await claimOne(), { outcome: 'dead', error: 'unknown task', isFailure: false })
    const dead = await show('a')
    expect(dead).toMatchObject({ failures: 0 })
    expect(dead?.errors).toMatchObject([{ attempt: 1, message: 'unknown task' }])
    expect((await driver.stats(name)).total).toMatchObject({ failed: 0, dead: 1 })
  })

  describe('retry', () => {
    test('lets it wait again at the end of its line, with its counters from 0 and its errors kept', async () => {
      const { enqueue, driver, name, show, ids, claimOne } = await queueWithDead()
      await enqueue({ id: 'b', priority: 3 }, { id: 'c', priority: 4 })
      expect(await driver.retry(name, ['a'])).toEqual(['retried'])
      const again = await show('a')
      expect(again).toMatchObject({ state: 'waiting', failures: 0, crashes: 0, attempt: 2, envelope: '["kept"]' })
      expect(again?.errors).toHaveLength(2)
      expect(await ids('waiting')).toEqual(['b', 'a', 'c'])
      expect(await ids('dead')).toEqual([])
      await claimOne()
      expect(await claimOne()).toMatchObject({ id: 'a', attempt: 3, failures: 0, crashes: 0 })
    })

    test('does nothing to what lives, and finds nothing where nothing is', async () => {
      const { enqueue, driver, name, claim, all } = newQueue()
      await enqueue({ id: 'active' }, { id: 'waiting' }, { id: 'scheduled', delayMs: longMs })
      await claim(1)
      const before = await all()
      for (const id of ['active', 'waiting', 'scheduled']) expect(await driver.retry(name, [id])).toEqual(['alive'])
      expect(await driver.retry(name, ['nobody'])).toEqual(['absent'])
      expect(await all()).toEqual(before)
    })

    test('made twice makes it wait once', async () => {
      const { driver, rival, name, claim } = await queueWithDead()
      const replies = await Promise.all([driver.retry(name, ['a']), rival.retry(name, ['a'])])
      expect(replies.flat().toSorted()).toEqual(['alive', 'retried'])
      expect(await claim(9)).toHaveLength(1)
    })

    test('does not let the worker of before say anything', async () => {
      const queue = newQueue()
      await queue.enqueue({ id: 'a' })
      const held = await queue.claimOne()
      await die(queue, held)
      await queue.driver.retry(queue.name, ['a'])
      const before = await queue.show('a')
      for (const outcome of ['done', 'cancelled', 'release'] as const) await queue.finish(held, { outcome })
      expect([await queue.show('a')]).toEqual([before])
    })

    test('of what was cancelled while it died lets it run', async () => {
      const queue = await queueWithDead()
      await queue.driver.retry(queue.name, ['a'])
      const held = await queue.claimOne()
      expect(await queue.finish(held, { outcome: 'done' })).toBe('ok')
      expect(await queue.store.leftovers(queue.name)).toEqual([])
    })
  })

  describe('remove', () => {
    test('takes away a dead letter, and leaves nothing of it', async () => {
      const { driver, name, show, all, store, enqueue } = await queueWithDead()
      expect(await driver.remove(name, ['a'])).toEqual(['removed'])
      expect(await show('a')).toBeUndefined()
      expect(await all()).toEqual({ waiting: [], scheduled: [], active: [], dead: [] })
      expect(await store.leftovers(name)).toEqual([])
      expect(await driver.remove(name, ['a'])).toEqual(['absent'])
      expect((await enqueue({ id: 'a' }))[0]?.status).toBe('enqueued')
      expect(await show('a')).toMatchObject({ attempt: 0, failures: 0, errors: [] })
    })

    for (const [state, delayMs] of Object.entries({ waiting: 0, scheduled: longMs })) {
      test(`takes away a ${state} task, with its unique key`, async () => {
        const { enqueue, driver, name, claim, all, store } = newQueue()
        await enqueue({ id: 'a', delayMs, unique: { key: 'k'.repeat(22), forMs: longMs } })
        expect(await driver.remove(name, ['a'])).toEqual(['removed'])
        expect(await all()).toEqual({ waiting: [], scheduled: [], active: [], dead: [] })
        expect(await claim(9)).toEqual([])
        expect(await store.leftovers(name)).toEqual([])
      })
    }

    test('refuses what runs', async () => {
      const { enqueue, driver, name, claimOne, finish } = newQueue()
      await enqueue({ id: 'a' })
      const held = await claimOne()
      expect(await driver.remove(name, ['a'])).toEqual(['active'])
      expect(await finish(held, { outcome: 'done' })).toBe('ok')
    })
  })
}
