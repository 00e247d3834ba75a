import { describe, expect, test } from 'bun:test'
import type { Claim, Claimed } from '@/infra/queue/driver'
import { heldOf, longMs, newNonce, type TestQueue } from './fixture'

const idsOf = (claimed: readonly Claimed[]) => claimed.map(({ id }) => id)

/** Who gets which tasks. */
export function claimSuite(newQueue: () => TestQueue): void {
  const newClaim = (over: Partial<Claim> = {}): Claim => ({ worker: 'host:1', nonce: newNonce(), count: 10, leaseMs: longMs, ...over })

  test('an empty queue gives nothing, and says that nothing is to come', async () => {
    const { driver, name } = newQueue()
    expect(await driver.exchange(name, { claim: newClaim() })).toEqual({ finished: [], claimed: [] })
  })

  test('as many are claimed as were asked for, or as there are', async () => {
    const { enqueue, claim } = newQueue()
    await enqueue({}, {}, {}, {}, {})
    expect(await claim(2)).toHaveLength(2)
    expect(await claim(9)).toHaveLength(3)
    expect(await claim(9)).toEqual([])
  })

  test('a first attempt has the number 1, no failures, no crashes and the envelope', async () => {
    const { enqueue, driver, name } = newQueue()
    await enqueue({ id: 'a', envelope: '["text"]' })
    const { claimed } = await driver.exchange(name, { claim: newClaim() })
    expect(claimed).toEqual([{ id: 'a', attempt: 1, failures: 0, crashes: 0, envelope: '["text"]' }])
  })

  test('who has it, and until when, can be seen', async () => {
    const { enqueue, claim, show, store } = newQueue()
    await enqueue({ id: 'a' })
    const earliestMs = await store.nowMs()
    await claim(1, { worker: 'a-host.example:4711', leaseMs: 30_000 })
    const latestMs = await store.nowMs()
    const stored = await show('a')
    expect(stored).toMatchObject({ state: 'active', worker: 'a-host.example:4711', attempt: 1 })
    expect(stored?.atMs).toBeGreaterThanOrEqual(earliestMs + 30_000)
    expect(stored?.atMs).toBeLessThanOrEqual(latestMs + 30_000)
  })

  test('each start has a higher number than the one before, whatever ended that', async () => {
    const { enqueue, claimOne, finish, driver, name, store, trust, reap } = newQueue()
    await trust()
    await enqueue({ id: 'a' })
    await finish(await claimOne(), { outcome: 'retry', delayMs: 0, error: 'no' })
    await finish(await claimOne(), { outcome: 'snooze', delayMs: 0 })
    await finish(await claimOne(), { outcome: 'release' })
    await claimOne({ leaseMs: 1 })
    await store.advance(5)
    expect(await reap()).toEqual({ again: ['a'], poisoned: [] })
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    await driver.retry(name, ['a'])
    expect(await claimOne()).toMatchObject({ attempt: 6, failures: 0, crashes: 0 })
  })

  test('of many that claim at once in two processes each gets others, and all are given', async () => {
    const { driver, rival, name, newTask } = newQueue()
    const tasks = Array.from({ length: 300 }, () => newTask())
    await driver.enqueue(name, tasks)
    const claims = Array.from({ length: 50 }, (_, i) =>
      (i % 2 === 0 ? driver : rival).exchange(name, { claim: newClaim({ count: 7, worker: `host:${i}` }) }),
    )
    const ids = (await Promise.all(claims)).flatMap(({ claimed }) => idsOf(claimed))
    expect(ids).toHaveLength(tasks.length)
    expect(new Set(ids)).toEqual(new Set(tasks.map(({ id }) => id)))
  })

  describe('when the next may be claimed', () => {
    test('is at once while more waits', async () => {
      const { enqueue, driver, name } = newQueue()
      await enqueue({}, {}, { delayMs: longMs })
      expect((await driver.exchange(name, { claim: newClaim({ count: 1 }) })).nextDueMs).toBe(0)
      expect((await driver.exchange(name, { claim: newClaim({ count: 1 }) })).nextDueMs).toBeGreaterThan(longMs - 60_000)
    })

    test('is when the first of the scheduled ones may start', async () => {
      const { enqueue, driver, name } = newQueue()
      await enqueue({ delayMs: 3 * longMs }, { delayMs: longMs }, { delayMs: 2 * longMs })
      const { nextDueMs = 0 } = await driver.exchange(name, { claim: newClaim() })
      expect(nextDueMs).toBeLessThanOrEqual(longMs)
      expect(nextDueMs).toBeGreaterThan(longMs - 60_000)
    })

    test('is not said when nothing waits and nothing is scheduled, though tasks run', async () => {
      const { enqueue, driver, name } = newQueue()
      await enqueue({})
      expect(await driver.exchange(name, { claim: newClaim() })).not.toHaveProperty('nextDueMs')
    })
  })

  describe('the same claim again, since its answer was lost', () => {
    test('gets the same tasks, not others, and changes nothing', async () => {
      const { enqueue, driver, rival, name, all, show } = newQueue()
      await enqueue({ id: 'c' }, { id: 'a' }, { id: 'b', priority: 0 }, { id: 'other' })
      const said = newClaim({ count: 3 })
      const first = await driver.exchange(name, { claim: said })
      expect(idsOf(first.claimed)).toEqual(['b', 'c', 'a'])
      const before = [await all(), (await show('a'))?.attempt]
      for (const each of [driver, rival, driver]) expect(await each.exchange(name, { claim: said })).toEqual(first)
      expect([await all(), (await show('a'))?.attempt]).toEqual(before)
    })

    test('gets those that are still its own', async () => {
      const { enqueue, driver, name, finish } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'd' }, { id: 'other' }, { id: 'another' })
      const said = newClaim({ count: 4 })
      const held = (await driver.exchange(name, { claim: said })).claimed.map(each => ({ ...each, nonce: said.nonce }))
      const [a, b, c] = held
      if (!a || !b || !c) throw new Error('too few were claimed')
      await finish(a, { outcome: 'done' })
      await finish(b, { outcome: 'retry', delayMs: 0, error: 'no' })
      expect(idsOf((await driver.exchange(name, { claim: said })).claimed)).toEqual(['c', 'd'])
      await finish(c, { outcome: 'release' })
      const other = await driver.exchange(name, { claim: newClaim({ count: 1 }) })
      expect(idsOf(other.claimed)).toEqual(['c'])
      expect(idsOf((await driver.exchange(name, { claim: said })).claimed)).toEqual(['d'])
    })

    test('gets nothing when all of them have ended', async () => {
      const { enqueue, driver, name, finish, ids } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' }, { id: 'other' })
      const said = newClaim({ count: 2 })
      for (const each of (await driver.exchange(name, { claim: said })).claimed) {
        await finish({ ...each, nonce: said.nonce }, { outcome: 'done' })
      }
      expect((await driver.exchange(name, { claim: said })).claimed).toEqual([])
      expect(await ids('waiting')).toEqual(['other'])
    })

    test('gets nothing of what was taken from it', async () => {
      const { enqueue, driver, name, store, trust, reap } = newQueue()
      await trust()
      await enqueue({ id: 'a' }, { id: 'b' })
      const said = newClaim({ count: 2, leaseMs: 1 })
      await driver.exchange(name, { claim: said })
      await store.advance(5)
      expect((await reap()).again.toSorted()).toEqual(['a', 'b'])
      expect(idsOf((await driver.exchange(name, { claim: newClaim({ count: 1 }) })).claimed)).toHaveLength(1)
      const { claimed } = await driver.exchange(name, { claim: said })
      expect(claimed.filter(({ attempt }) => attempt === 1)).toEqual([])
    })

    test('is known though another worker has claimed meanwhile', async () => {
      const { enqueue, driver, rival, name } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' }, { id: 'c' })
      const said = newClaim({ count: 1 })
      const first = await driver.exchange(name, { claim: said })
      await rival.exchange(name, { claim: newClaim({ count: 1, worker: 'host:2' }) })
      expect(await driver.exchange(name, { claim: said })).toEqual(first)
    })
  })

  describe('an exchange', () => {
    test('of nothing does nothing', async () => {
      const { enqueue, driver, name, all } = newQueue()
      await enqueue({ id: 'a' })
      for (const nothing of [{}, { finish: [] }]) expect(await driver.exchange(name, nothing)).toMatchObject({ finished: [], claimed: [] })
      expect(await all()).toEqual({ waiting: ['a'], scheduled: [], active: [], dead: [] })
    })

    test('says how attempts ended before it claims', async () => {
      const { enqueue, driver, name, claim } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' }, { id: 'c' })
      const [a, b] = await claim(2)
      if (!a || !b) throw new Error('too few were claimed')
      const reply = await driver.exchange(name, {
        finish: [
          { ...heldOf(a), outcome: 'release' },
          { ...heldOf(b), outcome: 'done' },
        ],
        claim: newClaim({ count: 1 }),
      })
      expect(reply).toMatchObject({ finished: ['ok', 'ok'], claimed: [{ id: 'a', attempt: 2 }], nextDueMs: 0 })
    })

    test('claims though what it says is stale or gone', async () => {
      const { enqueue, driver, name, claimOne } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' })
      const held = await claimOne()
      const reply = await driver.exchange(name, {
        finish: [
          { ...heldOf(held), nonce: 'not its own nonce', outcome: 'done' },
          { ...heldOf(held), id: 'nobody', outcome: 'done' },
          { ...heldOf(held), outcome: 'done' },
        ],
        claim: newClaim(),
      })
      expect(reply).toMatchObject({ finished: ['stale', 'gone', 'ok'], claimed: [{ id: 'b' }] })
    })

    test('that is made again, since its answer was lost, has been made once', async () => {
      const { enqueue, driver, rival, name, claim, all, show } = newQueue()
      await enqueue({ id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'd' })
      const [a, b] = await claim(2)
      if (!a || !b) throw new Error('too few were claimed')
      const said = {
        finish: [
          { ...heldOf(a), outcome: 'retry' as const, delayMs: longMs, error: 'no' },
          { ...heldOf(b), outcome: 'dead' as const, error: 'no', isFailure: true },
        ],
        claim: newClaim({ count: 1 }),
      }
      const first = await driver.exchange(name, said)
      const before = [await all(), await show('a'), await show('b'), await show('c')]
      expect(await rival.exchange(name, said)).toEqual(first)
      expect([await all(), await show('a'), await show('b'), await show('c')]).toEqual(before)
    })
  })

  test('a thousand are enqueued, claimed and finished in a call each', async () => {
    const { driver, name, newTask, store } = newQueue()
    const tasks = Array.from({ length: 1000 }, () => newTask())
    expect((await driver.enqueue(name, tasks)).every(({ status }) => status === 'enqueued')).toBe(true)
    const said = newClaim({ count: 1000 })
    const { claimed } = await driver.exchange(name, { claim: said })
    expect(idsOf(claimed)).toEqual(tasks.map(({ id }) => id))
    const finish = claimed.map(({ id, attempt }) => ({ id, attempt, nonce: said.nonce, outcome: 'done' as const }))
    const { finished } = await driver.exchange(name, { finish })
    expect(finished).toEqual(finish.map(() => 'ok' as const))
    expect(await store.leftovers(name)).toEqual([])
  })
}
