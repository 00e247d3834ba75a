import { describe, expect, test } from 'bun:test'
import { until } from '../cache-fixture'
import { findingsOf, heldOf, type Holding, longMs, shortMs, type TestQueue } from './fixture'
import { heldScene } from './held-scene'

/** Tasks that wait until others have ended. */
export function heldSuite(newQueue: () => TestQueue): void {
  const { together, chain, endAll } = heldScene(newQueue)

  test('is not started before all that it waits for have ended, and operators see for how many', async () => {
    const queue = await together(3)
    expect(await queue.ids('held')).toEqual(['last'])
    const [a, b, c] = (await queue.claim(10)) as [Holding, Holding, Holding]
    expect([a.id, b.id, c.id]).toEqual(queue.members as [string, string, string])
    for (const [i, held] of [a, b].entries()) {
      expect(await queue.show('last')).toMatchObject({ state: 'held', heldFor: 3 - i, attempt: 0 })
      expect(await queue.finish(held, { outcome: 'done' })).toBe('ok')
      expect(await queue.claim(10)).toEqual([])
    }
    const { held, waiting, scheduled, active, total } = await queue.driver.stats(queue.name)
    expect({ held, waiting, scheduled, active, enqueued: total.enqueued }).toEqual({
      ...{ held: 1, waiting: 0, scheduled: 0, active: 1, enqueued: 4 },
    })
    await queue.finish(c, { outcome: 'done' })
    expect(await queue.ids('held')).toEqual([])
    expect((await queue.show('last'))?.state).toBe('waiting')
    expect((await queue.show('last'))?.heldFor).toBeUndefined()
    const last = await queue.claimOne()
    expect([last.id, last.attempt]).toEqual(['last', 1])
    await queue.finish(last, { outcome: 'done' })
    expect(await queue.store.leftovers(queue.name)).toEqual([])
    expect(await findingsOf(queue.driver, queue.name, false)).toEqual([])
  })

  test('waits by nothing that is due: who claims is not told of a time', async () => {
    const { driver, name, newTask } = newQueue()
    await driver.enqueue(name, [newTask({ after: { count: 1, isDoneNeeded: false } })])
    const claim = { worker: 'host:1', nonce: 'nonce-of-nothing', count: 1, leaseMs: longMs }
    expect(await driver.exchange(name, { claim })).toEqual({ finished: [], claimed: [] })
  })

  test('comes to the end of the line of its priority, when the last has ended', async () => {
    const queue = await together(1, { last: { priority: 3 } })
    await queue.enqueue({ id: 'other', priority: 3 }, { id: 'lesser', priority: 4 })
    const [member] = (await queue.claim(10)).filter(({ id }) => id === 'member-000')
    await queue.enqueue({ id: 'newer', priority: 3 })
    await queue.finish(member as Holding, { outcome: 'done' })
    expect(await queue.ids('waiting')).toEqual(['newer', 'last'])
  })

  test('waits its delay from when the last has ended', async () => {
    const queue = await together(1, { last: { delayMs: shortMs } })
    await queue.store.advance(shortMs)
    const beforeMs = await queue.store.nowMs()
    expect(await endAll(queue)).toEqual(['member-000'])
    const stored = await queue.show('last')
    expect(stored?.state).toBe('scheduled')
    expect(stored?.atMs).toBeGreaterThanOrEqual(beforeMs + shortMs)
    const [last] = await queue.until(async () => {
      const claimed = await queue.claim()
      return claimed.length > 0 && claimed
    })
    expect(last?.id).toBe('last')
    expect(await queue.store.nowMs()).toBeGreaterThanOrEqual(stored?.atMs as number)
  })

  test('wakes whoever is idle, in another process too', async () => {
    const queue = await together(1)
    const [member] = await queue.claim(10)
    let woken = 0
    const end = queue.rival.watch(queue.name, { wake: () => woken++, cancelled: () => {} })
    await queue.rival.exchange(queue.name, { claim: { worker: 'other:1', nonce: 'nonce-of-another', count: 1, leaseMs: longMs } })
    await queue.finish(member as Holding, { outcome: 'done' })
    await until(() => woken > 0)
    end()
  })

  describe('with any end', () => {
    test('however they end counts: done, dead, cancelled or removed', async () => {
      const queue = await together(5)
      const [done, dead, cancelled] = await queue.claim(3)
      await queue.finish(done as Holding, { outcome: 'done' })
      await queue.finish(dead as Holding, { outcome: 'dead', error: 'no', isFailure: true })
      await queue.finish(cancelled as Holding, { outcome: 'cancelled' })
      expect(await queue.driver.cancel(queue.name, ['member-003'])).toEqual(['cancelled'])
      expect((await queue.show('last'))?.heldFor).toBe(1)
      expect(await queue.driver.remove(queue.name, ['member-004'])).toEqual(['removed'])
      expect((await queue.claimOne()).id).toBe('last')
      const outcomes = (await queue.driver.before(queue.name, 'last')).map(({ outcome }) => outcome)
      expect(outcomes).toEqual(['done', 'dead', 'cancelled', 'cancelled', 'cancelled'])
    })

    test('one that runs on after it was cancelled counts when it has ended, not before', async () => {
      const queue = await together(1)
      const member = await queue.claimOne()
      expect(await queue.driver.cancel(queue.name, [member.id])).toEqual(['cancelling'])
      expect((await queue.show('last'))?.heldFor).toBe(1)
      await queue.finish(member, { outcome: 'retry', delayMs: 0, error: 'told to end' })
      expect(await queue.driver.before(queue.name, 'last')).toEqual([{ id: member.id, outcome: 'cancelled' }])
      expect((await queue.claimOne()).id).toBe('last')
    })

    test('one that no worker survives counts when it is given up', async () => {
      const queue = await together(1)
      await queue.trust()
      await queue.claimOne({ leaseMs: 1 })
      await queue.store.advance(5)
      expect(await queue.reap(0)).toEqual({ again: [], poisoned: ['member-000'] })
      expect((await queue.claimOne()).id).toBe('last')
    })

    test('one that only waits to be tried again has not ended', async () => {
      const queue = await together(1)
      const hows = [{ outcome: 'retry', delayMs: 0, error: 'no' }, { outcome: 'snooze', delayMs: 0 }, { outcome: 'release' }] as const
      for (const how of hows) {
        const member = await queue.claimOne()
        expect(await queue.finish(member, how)).toBe('ok')
        expect(await queue.show('last')).toMatchObject({ state: 'held', heldFor: 1 })
      }
    })

    test('a dead letter counts, and counts once when it is retried and ends again', async () => {
      const queue = await together(2)
      const [first, second] = (await queue.claim(2)) as [Holding, Holding]
      await queue.finish(first, { outcome: 'dead', error: 'no', isFailure: true })
      expect((await queue.show('last'))?.heldFor).toBe(1)
      expect(await queue.driver.retry(queue.name, [first.id])).toEqual(['retried'])
      const again = await queue.claimOne()
      await queue.finish(again, { outcome: 'done', result: '"at last"' })
      expect((await queue.show('last'))?.heldFor).toBe(1)
      expect(await queue.claim()).toEqual([])
      await queue.finish(second, { outcome: 'done' })
      expect((await queue.claimOne()).id).toBe('last')
      expect(await queue.driver.before(queue.name, 'last')).toEqual([
        { id: first.id, outcome: 'done', result: '"at last"' },
        { id: second.id, outcome: 'done' },
      ])
    })
  })

  describe('that needs them done', () => {
    const isDoneNeeded = true

    test('a dead letter keeps it waiting until it is retried and done', async () => {
      const queue = await together(1, { last: { after: { count: 1, isDoneNeeded } } })
      await endAll(queue, { outcome: 'dead', error: 'no', isFailure: true })
      expect(await queue.show('last')).toMatchObject({ state: 'held', heldFor: 1 })
      expect(await queue.driver.retry(queue.name, ['member-000'])).toEqual(['retried'])
      expect(await endAll(queue)).toEqual(['member-000'])
      expect((await queue.claimOne()).id).toBe('last')
    })

    test('one that is cancelled ends it, and all that wait behind it', async () => {
      const queue = newQueue()
      const ids = ['one', 'two', 'three', 'four', 'five']
      await queue.enqueue(...chain(ids))
      await queue.enqueue({ id: 'apart', after: { count: 1, isDoneNeeded } })
      await endAll(queue)
      expect((await queue.ids('held')).toSorted()).toEqual(['apart', 'five', 'four', 'three'])
      expect(await queue.driver.cancel(queue.name, ['two'])).toEqual(['cancelled'])
      expect(await queue.ids('held')).toEqual(['apart'])
      for (const id of ids) expect(await queue.show(id)).toBeUndefined()
      const { held, waiting, total } = await queue.driver.stats(queue.name)
      expect({ held, waiting, done: total.done, cancelled: total.cancelled }).toEqual({ held: 1, waiting: 0, done: 1, cancelled: 4 })
    })

    test('one that is cancelled while it runs ends them when it has ended', async () => {
      const queue = newQueue()
      await queue.enqueue(...chain(['one', 'two', 'three']))
      const one = await queue.claimOne()
      await queue.driver.cancel(queue.name, ['one'])
      expect((await queue.ids('held')).toSorted()).toEqual(['three', 'two'])
      await queue.finish(one, { outcome: 'cancelled' })
      expect(await queue.ids('held')).toEqual([])
      expect(await queue.store.leftovers(queue.name)).toEqual([])
    })

    test('a dead letter that is removed ends them', async () => {
      const queue = newQueue()
      await queue.enqueue(...chain(['one', 'two', 'three']))
      await endAll(queue, { outcome: 'dead', error: 'no', isFailure: true })
      expect((await queue.ids('held')).toSorted()).toEqual(['three', 'two'])
      expect(await queue.driver.remove(queue.name, ['one'])).toEqual(['removed'])
      expect(await queue.ids('held')).toEqual([])
      expect(await queue.store.leftovers(queue.name)).toEqual([])
    })

    test('a chain of a hundred runs one after another, and ends as a whole when its first is cancelled', async () => {
      const queue = newQueue()
      const ids = Array.from({ length: 100 }, (_, i) => `step-${String(i).padStart(3, '0')}`)
      await queue.enqueue(...chain(ids).toReversed())
      for (const id of ids.slice(0, 5)) expect(await endAll(queue)).toEqual([id])
      expect((await queue.driver.stats(queue.name)).held).toBe(94)
      await queue.driver.cancel(queue.name, ['step-005'])
      expect((await queue.driver.stats(queue.name)).total).toMatchObject({ enqueued: 100, done: 5, cancelled: 95 })
      expect(await queue.store.leftovers(queue.name)).toEqual([])
    })
  })

  test('what is said again counts once', async () => {
    const queue = await together(2)
    const [first, second] = (await queue.claim(2)) as [Holding, Holding]
    for (const _ of [1, 2, 3]) await queue.finish(first, { outcome: 'dead', error: 'no', isFailure: true })
    expect((await queue.show('last'))?.heldFor).toBe(1)
    for (const _ of [1, 2, 3]) await queue.finish(second, { outcome: 'done' })
    expect(await queue.ids('waiting')).toEqual(['last'])
    expect((await queue.driver.stats(queue.name)).total).toMatchObject({ done: 1, failed: 1 })
  })

  test('two that end at the same time, in two processes, start it once', async () => {
    const queue = await together(40)
    const claimed = await queue.claim(40)
    const finish = (held: Holding, i: number) =>
      [queue.driver, queue.rival][i % 2]?.exchange(queue.name, { finish: [{ ...heldOf(held), outcome: 'done' }] })
    await Promise.all(claimed.map(finish))
    expect(await queue.ids('waiting')).toEqual(['last'])
    expect(await queue.ids('held')).toEqual([])
  })

  test('a thousand members end in one call', async () => {
    const queue = await together(1000)
    expect(await endAll(queue)).toHaveLength(1000)
    expect((await queue.claimOne()).id).toBe('last')
  })
}
