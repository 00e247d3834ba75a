import { describe, expect, test } from 'bun:test'
import { operateMax } from '@/infra/queue/driver'
import { longMs, type TestQueue } from './fixture'

/** Making dead letters of tasks that nobody works on, which is how they are held still while they are moved. */
export function burySuite(newQueue: () => TestQueue): void {
  const unique = { key: 'b'.repeat(22), forMs: longMs }

  for (const [state, delayMs] of Object.entries({ waiting: 0, scheduled: longMs })) {
    test(`a ${state} task becomes a dead letter at once, without a failure`, async () => {
      const { enqueue, driver, name, all, show, claim, store } = newQueue()
      await enqueue({ id: 'a', delayMs, priority: 2, envelope: '["kept"]' }, { id: 'b', delayMs })
      expect(await driver.bury(name, [{ id: 'a', error: 'not here' }])).toEqual(['buried'])
      expect(await all()).toMatchObject({ waiting: [], scheduled: [], dead: ['a'], [state]: ['b'] })
      const dead = await show('a')
      expect(dead).toMatchObject({ state: 'dead', priority: 2, envelope: '["kept"]', attempt: 0, failures: 0, crashes: 0 })
      expect(dead?.errors).toMatchObject([{ attempt: 0, message: 'not here' }])
      expect(await driver.stats(name)).toMatchObject({ dead: 1, total: { enqueued: 2, dead: 1, failed: 0 } })
      await store.advance(5)
      expect((await claim(9)).map(({ id }) => id)).toEqual(delayMs === 0 ? ['b'] : [])
    })
  }

  test('it is the dead letter of any other, which waits again when it is told to', async () => {
    const { enqueue, driver, name, claimOne, finish, store } = newQueue()
    await enqueue({ id: 'a' })
    await finish(await claimOne(), { outcome: 'retry', delayMs: longMs, error: 'no' })
    expect(await driver.bury(name, [{ id: 'a', error: 'not here' }])).toEqual(['buried'])
    expect((await driver.show(name, 'a'))?.errors.map(({ attempt, message }) => [attempt, message])).toEqual([
      [1, 'no'],
      [1, 'not here'],
    ])
    expect(await driver.retry(name, ['a'])).toEqual(['retried'])
    const held = await claimOne()
    expect(held).toMatchObject({ id: 'a', attempt: 2, failures: 0 })
    expect(await finish(held, { outcome: 'done' })).toBe('ok')
    expect(await store.leftovers(name)).toEqual([])
  })

  test('its unique key is free', async () => {
    const { enqueue, driver, name } = newQueue()
    await enqueue({ id: 'a', unique })
    await driver.bury(name, [{ id: 'a', error: 'not here' }])
    expect(await enqueue({ id: 'b', unique })).toEqual([{ id: 'b', status: 'enqueued' }])
    expect(await driver.retry(name, ['a'])).toEqual(['retried'])
    expect(await enqueue({ id: 'c', unique })).toEqual([{ id: 'b', status: 'unique' }])
  })

  test('its id is not enqueued again, when it is one that is kept', async () => {
    const { enqueue, driver, name } = newQueue()
    await enqueue({ id: 'a', isIdKept: true })
    await driver.bury(name, [{ id: 'a', error: 'not here' }])
    expect(await enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'duplicate' }])
    expect(await driver.remove(name, ['a'])).toEqual(['removed'])
    expect(await enqueue({ id: 'a', isIdKept: true })).toEqual([{ id: 'a', status: 'duplicate' }])
  })

  test('one that others wait for, that waits for others, or that is done stays as it is, whatever its state', async () => {
    const { enqueue, claimOne, claim, finish, driver, name, all } = newQueue()
    const bury = (id: string) => driver.bury(name, [{ id, error: 'not here' }])
    await enqueue({ id: 'kept' })
    await finish(await claimOne(), { outcome: 'done', keepForMs: longMs })
    await enqueue(
      { id: 'first', follower: { id: 'second', wantsResult: false } },
      { id: 'second', after: { count: 1, isDoneNeeded: true }, follower: { id: 'third', wantsResult: false } },
      { id: 'third', after: { count: 1, isDoneNeeded: false } },
    )
    const before = await all()
    for (const id of ['kept', 'first', 'second', 'third']) expect([id, await bury(id)]).toEqual([id, ['unfit']])
    expect(await all()).toEqual(before)
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    expect(await bury('first')).toEqual(['unfit'])
    expect(await driver.retry(name, ['first'])).toEqual(['retried'])
    await finish(await claimOne(), { outcome: 'done' })
    // It is held no more, and waits with what it was told.
    expect(await bury('second')).toEqual(['unfit'])
    expect((await claim(9)).map(({ id }) => id)).toEqual(['second'])
  })

  describe('of many at a time', () => {
    test('each has its answer, in their order, and what cannot be buried stays as it is', async () => {
      const { enqueue, claim, finish, driver, name, all, show } = newQueue()
      await enqueue({ id: 'died' }, { id: 'runs' }, { id: 'waits' }, { id: 'later', delayMs: longMs })
      const [died] = await claim(2)
      if (!died) throw new Error('nothing was claimed')
      await finish(died, { outcome: 'dead', error: 'no', isFailure: true })
      const before = [await show('died'), await show('runs')]
      const letters = ['nobody', 'runs', 'died', 'later', 'waits', 'waits'].map((id, i) => ({ id, error: `${i}` }))
      expect(await driver.bury(name, letters)).toEqual(['absent', 'active', 'dead', 'buried', 'buried', 'dead'])
      expect([await show('died'), await show('runs')]).toEqual(before)
      const { dead, ...others } = await all()
      expect([dead.toSorted(), others]).toEqual([['died', 'later', 'waits'], { waiting: [], scheduled: [], active: ['runs'] }])
      expect(await driver.stats(name)).toMatchObject({ waiting: 0, scheduled: 0, active: 1, dead: 3, total: { dead: 3 } })
    })

    test('more than a hundred are refused', async () => {
      const { driver, name } = newQueue()
      const tooMany = Array.from({ length: operateMax + 1 }, (_, i) => ({ id: `${i}`, error: 'no' }))
      expect(await driver.bury(name, tooMany).catch(String)).toContain('at most 100')
      expect(await driver.bury(name, tooMany.slice(1))).toEqual(Array(operateMax).fill('absent'))
    })
  })
}
