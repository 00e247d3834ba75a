import { describe, expect, test } from 'bun:test'
import { operateMax } from '@/infra/queue/driver'
import { heldOf, type HowItEnded, longMs, type TestQueue } from './fixture'

const nothing = { waiting: [], scheduled: [], active: [], dead: [] }

/** Ending a task that somebody else has enqueued. */
export function cancelSuite(newQueue: () => TestQueue): void {
  for (const [state, delayMs] of Object.entries({ waiting: 0, scheduled: longMs })) {
    test(`a ${state} task is cancelled at once: it is not there any more, and is never claimed`, async () => {
      const { enqueue, driver, name, all, show, claim, store } = newQueue()
      await enqueue({ id: 'a', delayMs, unique: { key: 'k'.repeat(22), forMs: longMs } }, { id: 'b', delayMs })
      expect(await driver.cancel(name, ['a'])).toEqual(['cancelled'])
      expect(await show('a')).toBeUndefined()
      expect(await all()).toEqual({ ...nothing, [state]: ['b'] })
      expect(await driver.stats(name)).toMatchObject({ [state]: 1, total: { enqueued: 2, cancelled: 1, done: 0 } })
      expect(await driver.cancel(name, ['a'])).toEqual(['absent'])
      expect(await driver.cancel(name, ['b'])).toEqual(['cancelled'])
      expect(await claim(9)).toEqual([])
      expect(await store.leftovers(name)).toEqual([])
    })
  }

  test('one of many that wait is taken out of the middle of its line', async () => {
    const { enqueue, driver, name, claim, ids } = newQueue()
    await enqueue(...Array.from({ length: 9 }, (_, i) => ({ id: `${i}`, priority: i < 3 ? 0 : 5 })))
    for (const id of ['1', '4', '8']) expect(await driver.cancel(name, [id])).toEqual(['cancelled'])
    expect(await ids('waiting')).toEqual(['0', '2', '3', '5', '6', '7'])
    expect((await claim(4)).map(({ id }) => id)).toEqual(['0', '2', '3', '5'])
    expect((await claim(4)).map(({ id }) => id)).toEqual(['6', '7'])
  })

  test('an id that is used again while the cancelled one may still be in line is claimed once, in its new place', async () => {
    const { enqueue, driver, name, claim, ids } = newQueue()
    await enqueue({ id: 'a' }, { id: 'b' })
    await driver.cancel(name, ['a'])
    await enqueue({ id: 'a', envelope: 'second' })
    expect(await ids('waiting')).toEqual(['b', 'a'])
    expect(await claim(9)).toMatchObject([
      { id: 'b', attempt: 1 },
      { id: 'a', attempt: 1, envelope: 'second' },
    ])
    expect(await claim(9)).toEqual([])
  })

  test('a task that is not there is absent, and a dead one stays as it is', async () => {
    const { enqueue, claimOne, finish, driver, name, show } = newQueue()
    expect(await driver.cancel(name, ['nobody'])).toEqual(['absent'])
    await enqueue({ id: 'a' })
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    const before = await show('a')
    expect(await driver.cancel(name, ['a'])).toEqual(['dead'])
    expect([await show('a')]).toEqual([before])
  })

  describe('a task that runs', () => {
    test('is told to end by its next beat, by whomever it was said, and stays active until its worker says so', async () => {
      const { enqueue, claim, driver, rival, name, show } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' })
      const [a, b] = await claim(2)
      if (!a || !b) throw new Error('too few were claimed')
      const held = [a, b].map(heldOf)
      expect(await driver.beat(name, longMs, held)).toEqual({ lost: [], cancelled: [] })
      for (let i = 0; i < 2; i++) expect(await rival.cancel(name, ['a'])).toEqual(['cancelling'])
      for (let i = 0; i < 2; i++) expect(await driver.beat(name, longMs, held)).toEqual({ lost: [], cancelled: ['a'] })
      expect(await show('a')).toMatchObject({ state: 'active', isCancelled: true, attempt: 1 })
      expect(await show('b')).toMatchObject({ state: 'active', isCancelled: false })
    })

    const ends: readonly HowItEnded[] = [
      { outcome: 'cancelled' },
      { outcome: 'release' },
      { outcome: 'retry', delayMs: 0, error: 'no' },
      { outcome: 'retry', delayMs: longMs, error: 'no' },
      { outcome: 'snooze', delayMs: longMs },
      { outcome: 'dead', error: 'no', isFailure: true },
    ]
    for (const how of ends) {
      test(`and whose worker then says ${JSON.stringify(how)} has ended as cancelled`, async () => {
        const { enqueue, claimOne, driver, name, finish, all, store } = newQueue()
        await enqueue({ id: 'a', unique: { key: 'k'.repeat(22), forMs: longMs } })
        const held = await claimOne()
        await driver.cancel(name, ['a'])
        expect(await finish(held, how)).toBe('ok')
        expect(await all()).toEqual(nothing)
        expect((await driver.stats(name)).total).toEqual({ enqueued: 1, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 1 })
        expect(await store.leftovers(name)).toEqual([])
      })
    }

    test('and was done before its worker heard of it is done', async () => {
      const { enqueue, claimOne, driver, name, finish, all, store } = newQueue()
      await enqueue({ id: 'a' })
      const held = await claimOne()
      await driver.cancel(name, ['a'])
      expect(await finish(held, { outcome: 'done' })).toBe('ok')
      expect(await all()).toEqual(nothing)
      expect((await driver.stats(name)).total).toMatchObject({ done: 1, cancelled: 0 })
      expect(await store.leftovers(name)).toEqual([])
    })

    test('and whose worker is lost ends as cancelled, and does not run again', async () => {
      const { enqueue, claimOne, driver, name, finish, all, store, trust, reap } = newQueue()
      await trust()
      await enqueue({ id: 'a', isIdKept: true })
      const held = await claimOne({ leaseMs: 1 })
      await driver.cancel(name, ['a'])
      await store.advance(5)
      expect(await reap()).toEqual({ again: [], poisoned: [] })
      expect(await all()).toEqual(nothing)
      expect((await driver.stats(name)).total).toMatchObject({ cancelled: 1, dead: 0 })
      expect(await finish(held, { outcome: 'done' })).toBe('gone')
      expect(await enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'duplicate' }])
      expect(await store.leftovers(name)).toEqual([])
    })

    test('and was cancelled leaves nothing of that to the next with its id', async () => {
      const { enqueue, claimOne, driver, name, finish } = newQueue()
      await enqueue({ id: 'a' })
      const held = await claimOne()
      await driver.cancel(name, ['a'])
      await finish(held, { outcome: 'cancelled' })
      await enqueue({ id: 'a' })
      const next = await claimOne()
      expect(await driver.beat(name, longMs, [heldOf(next)])).toEqual({ lost: [], cancelled: [] })
      expect(await finish(next, { outcome: 'retry', delayMs: longMs, error: 'no' })).toBe('ok')
      expect(await driver.stats(name)).toMatchObject({ scheduled: 1, total: { cancelled: 1, failed: 1 } })
    })
  })

  test('a task that waits to be tried again is cancelled with what is known of it', async () => {
    const { enqueue, claimOne, driver, name, finish, all, store } = newQueue()
    await enqueue({ id: 'a' })
    await finish(await claimOne(), { outcome: 'retry', delayMs: longMs, error: 'no' })
    expect(await driver.cancel(name, ['a'])).toEqual(['cancelled'])
    expect(await all()).toEqual(nothing)
    expect(await store.leftovers(name)).toEqual([])
    await enqueue({ id: 'a' })
    expect(await claimOne()).toMatchObject({ attempt: 1, failures: 0 })
  })

  describe('of many at a time', () => {
    test('each has its answer, in their order, as if it had been asked alone', async () => {
      const { enqueue, claim, finish, driver, name, all, ids } = newQueue()
      await enqueue({ id: 'died' }, { id: 'runs' }, { id: 'waits' }, { id: 'stays' }, { id: 'later', delayMs: longMs })
      const [died] = await claim(2)
      if (!died) throw new Error('nothing was claimed')
      await finish(died, { outcome: 'dead', error: 'no', isFailure: true })
      const some = ['nobody', 'runs', 'died', 'later', 'waits', 'waits']
      expect(await driver.retry(name, some)).toEqual(['absent', 'alive', 'retried', 'alive', 'alive', 'alive'])
      expect(await ids('waiting')).toEqual(['waits', 'stays', 'died'])
      expect(await driver.cancel(name, some)).toEqual(['absent', 'cancelling', 'cancelled', 'cancelled', 'cancelled', 'absent'])
      expect(await driver.remove(name, ['runs', 'waits', 'stays', 'stays'])).toEqual(['active', 'absent', 'removed', 'absent'])
      expect(await all()).toEqual({ ...nothing, active: ['runs'] })
      expect(await driver.stats(name)).toMatchObject({ waiting: 0, scheduled: 0, active: 1, dead: 0, total: { cancelled: 3 } })
    })

    test('none has none, and more than a hundred are refused', async () => {
      const { driver, name } = newQueue()
      const tooMany = Array.from({ length: operateMax + 1 }, (_, i) => `${i}`)
      for (const operate of [driver.cancel, driver.retry, driver.remove]) {
        expect(await operate(name, [])).toEqual([])
        expect(await operate(name, tooMany.slice(1))).toEqual(Array(operateMax).fill('absent'))
        expect(await (operate(name, tooMany) as Promise<unknown>).catch(String)).toContain('at most 100')
      }
    })
  })
}
