import { describe, expect, test } from 'bun:test'
import { until } from '../cache-fixture'
import { heldOf, type Holding, longMs, shortMs, type TestQueue } from './fixture'

const result = JSON.stringify({ sum: 42, text: '世 "é" \\ \n' })
const key = 'k'.repeat(22)

/** What stays of tasks that have ended, for a time. */
export function keptSuite(newQueue: () => TestQueue): void {
  /** One that is done, and kept. */
  async function kept(queue: TestQueue, over: Parameters<TestQueue['newTask']>[0] = {}, keepForMs = longMs): Promise<Holding> {
    await queue.enqueue({ id: 'a', ...over })
    const held = await queue.claimOne()
    expect(await queue.finish(held, { outcome: 'done', keepForMs, result })).toBe('ok')
    return held
  }
  const dead = { outcome: 'dead', error: 'no', isFailure: true } as const

  describe('one that is done and kept', () => {
    test('is shown with its result, its counts and the time until which it is', async () => {
      const queue = newQueue()
      const { enqueue, claimOne, finish, show, store, driver, name, all } = queue
      await enqueue({ id: 'a', envelope: '["test.do",1,"what"]' })
      await finish(await claimOne(), { outcome: 'retry', delayMs: 0, error: 'at first' })
      const earliestMs = await store.nowMs()
      await finish(await claimOne(), { outcome: 'done', keepForMs: longMs, result })
      const task = await show('a')
      expect(task).toMatchObject({ state: 'done', attempt: 2, failures: 1, crashes: 0, isCancelled: false, result })
      expect([task?.envelope, task?.worker, task?.errors.map(({ message }) => message)]).toEqual([
        '["test.do",1,"what"]',
        undefined,
        ['at first'],
      ])
      expect(task?.atMs).toBeGreaterThanOrEqual(earliestMs + longMs)
      expect(task?.atMs).toBeLessThanOrEqual((await store.nowMs()) + longMs)
      expect(await all()).toEqual({ waiting: [], scheduled: [], active: [], dead: [], done: ['a'] })
      expect(await driver.stats(name)).toMatchObject({ done: 1, active: 0, dead: 0, total: { enqueued: 1, done: 1, failed: 1 } })
    })

    test('may have no result', async () => {
      const { enqueue, claimOne, finish, show } = newQueue()
      await enqueue({ id: 'a' })
      expect(await finish(await claimOne(), { outcome: 'done', keepForMs: longMs })).toBe('ok')
      const task = await show('a')
      expect([task?.state, task && 'result' in task]).toEqual(['done', false])
    })

    test('is not given to anybody, and its lease is over', async () => {
      const queue = newQueue()
      const held = await kept(queue)
      await queue.trust()
      await queue.store.advance(10)
      expect(await queue.reap()).toEqual({ again: [], poisoned: [] })
      expect(await queue.claim(9)).toEqual([])
      expect((await queue.driver.beat(queue.name, longMs, [heldOf(held)])).lost).toEqual(['a'])
    })

    test('said twice is said once, and another end is stale', async () => {
      const queue = newQueue()
      const held = await kept(queue)
      const before = [await queue.show('a'), (await queue.driver.stats(queue.name)).total]
      expect(await queue.finish(held, { outcome: 'done', keepForMs: longMs, result })).toBe('ok')
      expect(await queue.finish(held, { outcome: 'done' })).toBe('ok')
      expect(await queue.finish(held, dead)).toBe('stale')
      expect(await queue.finish({ ...held, nonce: 'x'.repeat(16) }, { outcome: 'done' })).toBe('stale')
      expect([await queue.show('a'), (await queue.driver.stats(queue.name)).total]).toEqual(before)
    })

    test('said twice in one call is said once', async () => {
      const { enqueue, claimOne, driver, name, ids } = newQueue()
      await enqueue({ id: 'a' })
      const said = { ...heldOf(await claimOne()), outcome: 'done', keepForMs: longMs, result } as const
      expect((await driver.exchange(name, { finish: [said, said] })).finished).toEqual(['ok', 'ok'])
      expect([await ids('done'), (await driver.stats(name)).total.done]).toEqual([['a'], 1])
    })

    test('was done, though somebody had asked for its end', async () => {
      const { enqueue, claimOne, finish, show, driver, name } = newQueue()
      await enqueue({ id: 'a' })
      const held = await claimOne()
      await driver.cancel(name, ['a'])
      expect(await finish(held, { outcome: 'done', keepForMs: longMs, result })).toBe('ok')
      expect(await show('a')).toMatchObject({ state: 'done', isCancelled: false, result })
    })

    test('has its id, and its unique key no more', async () => {
      const queue = newQueue()
      await kept(queue, { unique: { key, forMs: longMs } })
      expect(await queue.enqueue({ id: 'a' })).toEqual([{ id: 'a', status: 'duplicate' }])
      expect(await queue.enqueue({ id: 'b', unique: { key, forMs: longMs } })).toEqual([{ id: 'b', status: 'enqueued' }])
      await queue.driver.remove(queue.name, ['a'])
      expect(await queue.enqueue({ id: 'c', unique: { key, forMs: longMs } })).toEqual([{ id: 'b', status: 'unique' }])
    })

    test('is no dead letter, and has ended: nobody tries it again or cancels it', async () => {
      const queue = newQueue()
      await kept(queue)
      const before = await queue.show('a')
      expect(await queue.driver.retry(queue.name, ['a'])).toEqual(['alive'])
      expect(await queue.driver.cancel(queue.name, ['a'])).toEqual(['done'])
      expect([await queue.show('a')]).toEqual([before])
    })

    test('is removed when somebody says so, and nothing of it is left', async () => {
      const queue = newQueue()
      await kept(queue)
      expect(await queue.driver.remove(queue.name, ['a', 'a'])).toEqual(['removed', 'absent'])
      expect([await queue.show('a'), await queue.store.leftovers(queue.name)]).toEqual([undefined, []])
      expect((await queue.driver.stats(queue.name)).done).toBe(0)
    })

    test('goes when its time is over, and whoever removes it says so', async () => {
      const queue = newQueue()
      const { driver, name, store, trust, ids } = queue
      await trust()
      await kept(queue, { id: 'b' })
      await kept(queue, {}, shortMs)
      expect((await driver.reap(name, { leaseMs: 1, crashesMax: 3 })).expired).toBeUndefined()
      await store.advance(shortMs + 10)
      expect(await driver.reap(name, { leaseMs: 1, crashesMax: 3 })).toEqual({
        ...{ again: [], poisoned: [], more: false, expired: { done: 1, dead: 0 } },
      })
      expect([await ids('done'), await queue.show('a')]).toEqual([['b'], undefined])
      await driver.remove(name, ['b'])
      expect(await store.leftovers(name)).toEqual([])
    })

    test('is remembered by its id for a day from its end, when its id is kept, however short it stays', async () => {
      const queue = newQueue()
      const { driver, name, store, trust, enqueue } = queue
      await trust()
      await kept(queue, { isIdKept: true }, 50)
      await store.advance(60)
      await driver.reap(name, { leaseMs: 1, crashesMax: 3 })
      expect(await enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'duplicate' }])
      await store.passKeptTime(name, 'a')
      expect(await enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'enqueued' }])
    })

    test('is remembered for no longer than that, though it goes later, by itself or by hand', async () => {
      const queue = newQueue()
      const { driver, name, store, trust, enqueue } = queue
      if (store.isTimeReal) return
      await trust()
      const halfDayMs = 12 * longMs
      await kept(queue, { isIdKept: true }, halfDayMs)
      await kept(queue, { id: 'b', isIdKept: true }, 9 * halfDayMs)
      await store.advance(halfDayMs)
      expect((await driver.reap(name, { leaseMs: 1, crashesMax: 3 })).expired).toEqual({ done: 1, dead: 0 })
      await driver.remove(name, ['b'])
      const again = () => enqueue({ id: 'a', isIdKept: true }, { id: 'b', isIdKept: true })
      expect((await again()).map(({ status }) => status)).toEqual(['duplicate', 'duplicate'])
      await store.advance(halfDayMs)
      expect((await again()).map(({ status }) => status)).toEqual(['enqueued', 'enqueued'])
    })

    test('is a duplicate for as long as it is there, when it stays for longer than a day', async () => {
      const queue = newQueue()
      await kept(queue, { isIdKept: true }, 30 * 24 * longMs)
      await queue.store.passKeptTime(queue.name, 'a')
      expect(await queue.enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'duplicate' }])
      expect(await queue.driver.remove(queue.name, ['a'])).toEqual(['removed'])
      expect(await queue.enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'enqueued' }])
    })
  })

  test('a result that is not to be kept leaves nothing', async () => {
    const { enqueue, claimOne, finish, show, store, name } = newQueue()
    await enqueue({ id: 'a' })
    const held = await claimOne()
    expect(await finish(held, { outcome: 'done', result })).toBe('ok')
    expect([await show('a'), await store.leftovers(name)]).toEqual([undefined, []])
    expect(['ok', 'gone']).toContain(await finish(held, { outcome: 'done', result }))
  })

  test('dead letters stay for good, or for as long as is said', async () => {
    const queue = newQueue()
    const { driver, name, store, trust, ids, enqueue, claimOne, finish } = queue
    await trust()
    await enqueue({ id: 'old', isIdKept: true, unique: { key, forMs: longMs } })
    await finish(await claimOne(), dead)
    await store.advance(400)
    await enqueue({ id: 'new' })
    await finish(await claimOne(), dead)
    const rule = { leaseMs: 1, crashesMax: 3 }
    expect((await driver.reap(name, rule)).expired).toBeUndefined()
    expect((await driver.reap(name, { ...rule, keepDeadMs: longMs })).expired).toBeUndefined()
    expect((await driver.reap(name, { ...rule, keepDeadMs: 399 })).expired).toEqual({ done: 0, dead: 1 })
    expect(await ids('dead')).toEqual(['new'])
    expect(await enqueue({ id: 'old', isIdKept: true })).toEqual([{ id: 'old', status: 'duplicate' }])
    expect((await driver.reap(name, { ...rule, keepDeadMs: 0 })).expired).toEqual({ done: 0, dead: 1 })
    expect((await driver.stats(name)).dead).toBe(0)
    expect(await store.leftovers(name)).toEqual([])
  })

  test('a reaper removes at most a hundred of each at a time, and says that there is more', async () => {
    const queue = newQueue()
    const { driver, name, store, trust, enqueue, claim } = queue
    await trust()
    await enqueue(...Array.from({ length: 250 }, () => ({})))
    const held = await claim(250)
    await driver.exchange(name, {
      finish: held.map((one, i) => (i < 130 ? { ...heldOf(one), outcome: 'done', keepForMs: 1, result } : { ...heldOf(one), ...dead })),
    })
    await store.advance(5)
    const replies = []
    for (let i = 0; i < 3; i++) replies.push(await driver.reap(name, { leaseMs: 1, crashesMax: 3, keepDeadMs: 1 }))
    expect(replies.map(({ expired, more }) => [expired, more])).toEqual([
      [{ done: 100, dead: 100 }, true],
      [{ done: 30, dead: 20 }, false],
      [undefined, false],
    ])
    expect(await store.leftovers(name)).toEqual([])
  })

  describe('whoever waits for ends', () => {
    for (const where of ['its own', 'another'] as const) {
      test(`is told of those that are kept, and of dead ones, when ${where} process ends them`, async () => {
        const queue = newQueue()
        const { driver, rival, name, enqueue, claim } = queue
        const heard: string[] = []
        let misses = 0
        await enqueue({ id: 'before' })
        await queue.finish(await queue.claimOne(), { outcome: 'done', keepForMs: longMs })
        const end = driver.watchEnds(name, { ended: id => heard.push(id), missed: () => misses++ })
        // Words are heard from when it has said that some may have been missed.
        await until(() => misses > 0)
        heard.length = 0
        await enqueue({ id: 'kept' }, { id: 'dead' }, { id: 'plain' }, { id: 'retried' })
        const [a, b, c, d] = (await claim(4)).map(heldOf)
        if (!a || !b || !c || !d) throw new Error('too few were claimed')
        await (where === 'another' ? rival : driver).exchange(name, {
          finish: [
            { ...a, outcome: 'done', keepForMs: longMs },
            { ...b, ...dead },
            { ...c, outcome: 'done' },
            { ...d, outcome: 'retry', delayMs: longMs, error: 'no' },
          ],
        })
        await until(() => heard.includes('kept') && heard.includes('dead'))
        expect([...new Set(heard)].toSorted()).toEqual(['dead', 'kept'])
        heard.length = 0
        await enqueue({ id: 'buried' })
        expect(await (where === 'another' ? rival : driver).bury(name, [{ id: 'buried', error: 'no' }])).toEqual(['buried'])
        await until(() => heard.includes('buried'))
        end()
        heard.length = 0
        await enqueue({ id: 'later' })
        await queue.finish(await queue.claimOne(), { outcome: 'done', keepForMs: longMs })
        await Bun.sleep(60)
        expect(heard).toEqual([])
      })
    }

    test('is told of those that their workers did not survive', async () => {
      const { driver, name, enqueue, claim, trust, store, reap } = newQueue()
      await trust()
      const heard: string[] = []
      let misses = 0
      const end = driver.watchEnds(name, { ended: id => heard.push(id), missed: () => misses++ })
      await until(() => misses > 0)
      await enqueue({ id: 'a' })
      await claim(1, { leaseMs: 1 })
      await store.advance(5)
      expect((await reap(0)).poisoned).toEqual(['a'])
      await until(() => heard.includes('a'))
      end()
    })
  })

  test('a peek says of each what has become of it, in their order', async () => {
    const { driver, name, enqueue, claimOne, finish } = newQueue()
    await enqueue({ id: 'kept', priority: 0 }, { id: 'dead', priority: 1 }, { id: 'runs', priority: 2 }, { id: 'waits' })
    await finish(await claimOne(), { outcome: 'done', keepForMs: longMs, result })
    await finish(await claimOne(), { outcome: 'retry', delayMs: 0, error: 'at first' })
    await finish(await claimOne(), dead)
    await claimOne()
    expect(await driver.peek(name, ['nobody', 'waits', 'dead', 'kept', 'runs', 'waits'])).toEqual([
      undefined,
      {},
      { outcome: 'dead', error: 'no' },
      { outcome: 'done', result },
      {},
      {},
    ])
    expect(await driver.peek(name, [])).toEqual([])
  })
}
