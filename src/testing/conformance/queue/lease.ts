import { describe, expect, test } from 'bun:test'
import { isFull } from '../../faults/scene'
import { heldOf, type Holding, longMs, type TestQueue } from './fixture'
import { type QueueStoreName, serverOf } from './stores'

/** Who has a task, for how long, and what becomes of it when he says nothing any more. */
export function leaseSuite(newQueue: () => TestQueue, on: QueueStoreName): void {
  /** Tasks whose leases are over, in a queue whose reaper trusts its clock. */
  async function lost(queue: TestQueue, ...ids: string[]): Promise<Holding[]> {
    await queue.trust()
    await queue.enqueue(...ids.map(id => ({ id })))
    const held = await queue.claim(ids.length, { leaseMs: 1 })
    await queue.store.advance(5)
    return held
  }

  describe('a beat', () => {
    test('of nothing is no error', async () => {
      const { driver, name } = newQueue()
      expect(await driver.beat(name, longMs, [])).toEqual({ lost: [], cancelled: [] })
    })

    test('prolongs the lease from now on', async () => {
      const { enqueue, claimOne, driver, name, show, store, trust, reap } = newQueue()
      await trust()
      await enqueue({ id: 'a' })
      const held = await claimOne({ leaseMs: 200 })
      const earliestMs = await store.nowMs()
      expect(await driver.beat(name, 60_000, [heldOf(held)])).toEqual({ lost: [], cancelled: [] })
      const { atMs = 0 } = (await show('a')) ?? {}
      expect(atMs).toBeGreaterThanOrEqual(earliestMs + 60_000)
      expect(atMs).toBeLessThanOrEqual((await store.nowMs()) + 60_000)
      await store.advance(210)
      expect(await reap()).toEqual({ again: [], poisoned: [] })
    })

    test('never shortens it', async () => {
      const { enqueue, claimOne, driver, name, show, store, trust, reap } = newQueue()
      await trust()
      await enqueue({ id: 'a' })
      const held = await claimOne({ leaseMs: longMs })
      const before = await show('a')
      expect(await driver.beat(name, 1, [heldOf(held)])).toEqual({ lost: [], cancelled: [] })
      expect([await show('a')]).toEqual([before])
      await store.advance(10)
      expect(await reap()).toEqual({ again: [], poisoned: [] })
    })

    test('after the end of the lease counts, as long as nobody has taken the task', async () => {
      const queue = newQueue()
      const held = await lost(queue, 'a')
      expect(await queue.driver.beat(queue.name, longMs, held.map(heldOf))).toEqual({ lost: [], cancelled: [] })
      expect(await queue.reap()).toEqual({ again: [], poisoned: [] })
    })

    test('names what its sender does not hold any more: taken, given to another, ended, or never there', async () => {
      const queue = newQueue()
      const { driver, name, reap, claim, finish, show } = queue
      const [a, b, c, d] = await lost(queue, 'a', 'b', 'c', 'd')
      if (!a || !b || !c || !d) throw new Error('too few were claimed')
      await finish(c, { outcome: 'done' })
      await driver.beat(name, longMs, [heldOf(d)])
      await reap()
      const [again] = await claim(1)
      const nobody = { id: 'nobody', attempt: 1, nonce: 'n'.repeat(16) }
      const wrong = [
        { ...heldOf(d), nonce: 'n'.repeat(16) },
        { ...heldOf(d), attempt: 2 },
      ]
      const before = [await show('a'), await show('b'), await show('d')]
      const { lost: names, cancelled } = await driver.beat(name, 2 * longMs, [...[a, b, c].map(heldOf), nobody, ...wrong])
      expect(names).toEqual(['a', 'b', 'c', 'nobody', 'd', 'd'])
      expect(cancelled).toEqual([])
      expect([await show('a'), await show('b'), await show('d')]).toEqual(before)
      expect(await driver.beat(name, longMs, [heldOf(d), heldOf(again as Holding)])).toEqual({ lost: [], cancelled: [] })
    })

    test('takes five hundred at once', async () => {
      const { enqueue, claim, driver, name } = newQueue()
      await enqueue(...Array.from({ length: 500 }, () => ({})))
      const held = (await claim(500)).map(heldOf)
      expect(await driver.beat(name, longMs, held)).toEqual({ lost: [], cancelled: [] })
      expect(
        (
          await driver.beat(
            name,
            longMs,
            held.map(each => ({ ...each, attempt: 9 })),
          )
        ).lost,
      ).toHaveLength(500)
    })
  })

  describe('a reaper', () => {
    test('finds nothing where nothing is', async () => {
      const { driver, name, trust } = newQueue()
      await trust()
      expect(await driver.reap(name, { leaseMs: 1, crashesMax: 3 })).toEqual({ again: [], poisoned: [], more: false })
    })

    test('leaves what is held, waits or is scheduled', async () => {
      const { enqueue, claim, all, trust, reap, store } = newQueue()
      await trust()
      await enqueue({ id: 'held' }, { id: 'waits' }, { id: 'later', delayMs: longMs })
      await claim(1)
      await store.advance(20)
      expect(await reap()).toEqual({ again: [], poisoned: [] })
      expect(await all()).toEqual({ waiting: ['waits'], scheduled: ['later'], active: ['held'], dead: [] })
    })

    test('takes what a worker has not spoken of for a lease, and it is next, at once', async () => {
      const queue = newQueue()
      const { enqueue, show, claimOne, reap, ids } = queue
      await lost(queue, 'a')
      await enqueue({ id: 'b' })
      expect(await reap()).toEqual({ again: ['a'], poisoned: [] })
      expect(await show('a')).toMatchObject({ state: 'waiting', attempt: 1, crashes: 1, failures: 0, errors: [] })
      expect(await ids('waiting')).toEqual(['a', 'b'])
      expect(await claimOne()).toMatchObject({ id: 'a', attempt: 2, crashes: 1, failures: 0 })
    })

    test('that comes second finds nothing, and crashes are counted once', async () => {
      const queue = newQueue()
      await lost(queue, 'a', 'b', 'c')
      const rule = { leaseMs: 1, crashesMax: 3 }
      const replies = await Promise.all(Array.from({ length: 6 }, (_, i) => (i % 2 ? queue.driver : queue.rival).reap(queue.name, rule)))
      expect(replies.flatMap(({ again }) => again).toSorted()).toEqual(['a', 'b', 'c'])
      for (const { crashes } of await queue.claim(9)) expect(crashes).toBe(1)
      expect((await queue.driver.stats(queue.name)).total.crashed).toBe(3)
    })

    test('counts crashes apart from failures', async () => {
      const queue = newQueue()
      await lost(queue, 'a')
      await queue.reap()
      await queue.finish(await queue.claimOne(), { outcome: 'retry', delayMs: 0, error: 'no' })
      expect(await queue.claimOne()).toMatchObject({ attempt: 3, failures: 1, crashes: 1 })
    })

    test('lets what crashes again wait, longer each time', async () => {
      const queue = newQueue()
      const { store, reap, claim, show } = queue
      await lost(queue, 'a')
      await reap()
      await queue.claimOne({ leaseMs: 1 })
      await store.advance(5)
      const earliestMs = await store.nowMs()
      expect(await reap()).toEqual({ again: ['a'], poisoned: [] })
      const second = await show('a')
      expect(second).toMatchObject({ state: 'scheduled', attempt: 2, crashes: 2, failures: 0 })
      expect(second?.atMs).toBeGreaterThanOrEqual(earliestMs + 4000)
      expect(second?.atMs).toBeLessThanOrEqual((await store.nowMs()) + 4000)
      expect(await claim()).toEqual([])
    })

    test('makes what kills more workers than it may a dead letter, and says so in its error', async () => {
      for (const crashesMax of [0, 1]) {
        const queue = newQueue()
        const { store, reap, claimOne, show, claim, driver, name } = queue
        await lost(queue, 'a')
        for (let run = 0; run < crashesMax; run++) {
          expect(await reap(crashesMax)).toEqual({ again: ['a'], poisoned: [] })
          await claimOne({ leaseMs: 1 })
          await store.advance(5)
        }
        expect(await reap(crashesMax)).toEqual({ again: [], poisoned: ['a'] })
        const dead = await show('a')
        expect(dead).toMatchObject({ state: 'dead', attempt: crashesMax + 1, crashes: crashesMax + 1, failures: 0 })
        expect(dead?.errors).toMatchObject([{ message: `poison: ${crashesMax + 1} workers did not survive it`, attempt: crashesMax + 1 }])
        expect(await claim()).toEqual([])
        expect((await driver.stats(name)).total).toMatchObject({ crashed: crashesMax + 1, dead: 1, failed: 0 })
      }
    })

    // Twelve seconds, where time cannot be moved.
    if (serverOf(on) === undefined || isFull) {
      test('of poison: it has run four times when three crashes are allowed', async () => {
        const queue = newQueue()
        const { store, reap, show, claim, until } = queue
        await lost(queue, 'a')
        for (const pauseMs of [0, 4000, 8000]) {
          const beganMs = await store.nowMs()
          expect((await reap()).again).toEqual(['a'])
          await until(async () => (await claim(1, { leaseMs: 1 })).length === 1, 15_000)
          expect((await store.nowMs()) - beganMs).toBeGreaterThanOrEqual(pauseMs)
          await store.advance(5)
        }
        await queue.trust()
        expect(await show('a')).toMatchObject({ state: 'dead', attempt: 4, crashes: 4 })
      }, 60_000)
    }

    test('takes at most a hundred a call, and says that there is more', async () => {
      const queue = newQueue()
      await lost(queue, ...Array.from({ length: 250 }, (_, i) => `t${String(i).padStart(3, '0')}`))
      const replies = []
      for (let i = 0; i < 4; i++) replies.push(await queue.driver.reap(queue.name, { leaseMs: 1, crashesMax: 3 }))
      expect(replies.map(({ again, more }) => [again.length, more])).toEqual([
        [100, true],
        [100, true],
        [50, false],
        [0, false],
      ])
      expect(await queue.ids('waiting')).toHaveLength(250)
      expect(await queue.ids('active')).toEqual([])
    })
  })
}
