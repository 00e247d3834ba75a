import { describe, expect, test } from 'bun:test'
import type { ClaimLimits } from '@/infra/queue/driver'
import { findingsOf, type Holding, type HowItEnded, heldOf, longMs, newNonce, type TestQueue, shortMs } from './fixture'
import type { QueueStoreName } from './stores'

export const limits: ClaimLimits = { lanes: { one: { concurrency: 1 }, two: { concurrency: 2 } } }
const laneOf = new Map<string, string>()

/** Claims under `limits`. */
export const claiming =
  ({ claim }: TestQueue) =>
  async (count = 1) =>
    (await claim(count, { limits })).map(({ id }) => id)

/** What a claim of one says of the next. */
export async function dueOf({ driver, name }: TestQueue, said: ClaimLimits = limits): Promise<number | undefined> {
  const claim = { worker: 'host:1', nonce: newNonce(), count: 1, leaseMs: longMs, limits: said }
  return (await driver.exchange(name, { claim })).nextDueMs
}

/** So many tasks of each lane, which `lanesOf` knows again. */
export async function fill({ driver, name, newTask }: TestQueue, count: number, ...lanes: (string | undefined)[]): Promise<void> {
  const tasks = lanes.flatMap(lane => Array.from({ length: count }, () => newTask(lane === undefined ? {} : { lane })))
  for (const { id, lane = '' } of tasks) laneOf.set(id, lane)
  await driver.enqueue(name, tasks)
}
export const lanesOf = (ids: readonly string[]): string[] => ids.map(id => laneOf.get(id) ?? id)

/** Tasks in lanes: how many of one run. */
export function laneSuite(newQueue: () => TestQueue, on: QueueStoreName): void {
  test('the lane of a task is shown, in whatever state it is', async () => {
    const { driver, name, enqueue, claimOne, finish, show } = newQueue()
    await enqueue({ id: 'a', lane: 'two/x' }, { id: 'b', lane: 'two', delayMs: longMs }, { id: 'c' })
    expect([(await show('a'))?.lane, (await show('b'))?.lane, (await show('c'))?.lane]).toEqual(['two/x', 'two', undefined])
    expect((await driver.list(name, 'waiting', 9)).tasks.map(({ id, lane }) => [id, lane])).toEqual(
      expect.arrayContaining([
        ['a', 'two/x'],
        ['c', undefined],
      ]),
    )
    const held = [await claimOne(), await claimOne()].find(({ id }) => id === 'a') as Holding
    expect(await show('a')).toMatchObject({ state: 'active', lane: 'two/x' })
    await finish(held, { outcome: 'dead', error: 'no', isFailure: true })
    expect(await show('a')).toMatchObject({ state: 'dead', lane: 'two/x' })
  })

  describe('how many of one run', () => {
    test('is at most what its limit says, for each key by itself', async () => {
      const queue = newQueue()
      const claim = claiming(queue)
      await fill(queue, 4, 'one/a', 'one/b', 'two/a', 'two')
      const first = await claim(100)
      expect(lanesOf(first).toSorted()).toEqual(['one/a', 'one/b', 'two', 'two', 'two/a', 'two/a'])
      expect(await claim(100)).toEqual([])
      expect((await queue.driver.stats(queue.name)).waiting).toBe(10)
    })

    test('is not limited in a lane whose limit the claim does not know', async () => {
      const queue = newQueue()
      await fill(queue, 10, 'other/a')
      expect(await claiming(queue)(100)).toHaveLength(10)
    })

    test('is what all processes run together', async () => {
      const queue = newQueue()
      await fill(queue, 4, 'two/a')
      const taken: string[] = []
      for (const each of [queue.driver, queue.rival]) {
        const claim = { worker: 'host:1', nonce: newNonce(), count: 1, leaseMs: longMs, limits }
        taken.push(...(await each.exchange(queue.name, { claim })).claimed.map(({ id }) => id))
      }
      expect(taken).toHaveLength(2)
      const claim = { worker: 'host:1', nonce: newNonce(), count: 9, leaseMs: longMs, limits }
      expect((await queue.rival.exchange(queue.name, { claim })).claimed).toEqual([])
    })

    test('does not hold up others: neither lanes, nor tasks without one, nor worse priorities', async () => {
      const queue = newQueue()
      const { enqueue } = queue
      const claim = claiming(queue)
      await enqueue({ id: 'runs', lane: 'one/a', priority: 0 }, { id: 'waits', lane: 'one/a', priority: 0 })
      expect(await claim(9)).toEqual(['runs'])
      await enqueue({ id: 'plain', priority: 9 }, { id: 'other', lane: 'one/b', priority: 3 }, { id: 'free', lane: 'any', priority: 4 })
      expect(await claim(9)).toEqual(['other', 'free', 'plain'])
      expect(await queue.ids('waiting')).toEqual(['waits'])
    })

    const ends: Record<string, HowItEnded> = {
      done: { outcome: 'done' },
      cancelled: { outcome: 'cancelled' },
      'tried again later': { outcome: 'retry', delayMs: longMs, error: 'no' },
      'put off': { outcome: 'snooze', delayMs: longMs },
      dead: { outcome: 'dead', error: 'no', isFailure: true },
    }
    for (const [what, how] of Object.entries(ends)) {
      test(`is one less when one is ${what}, though nothing else happens`, async () => {
        const queue = newQueue()
        await fill(queue, 3, 'one/a')
        const [held] = await queue.claim(9, { limits })
        expect(await queue.finish(held as Holding, how)).toBe('ok')
        expect(await claiming(queue)(9)).toHaveLength(1)
        expect(await claiming(queue)(9)).toEqual([])
      })
    }

    test('is one less when one whose id is kept is done, when one is given back, and when its worker is lost', async () => {
      const queue = newQueue()
      const { enqueue, claim, finish, trust, store, reap } = queue
      await trust()
      await enqueue({ id: 'kept', isIdKept: true, lane: 'one/a' }, { id: 'a', lane: 'one/a' }, { id: 'b', lane: 'one/a' })
      await finish((await claim(9, { limits }))[0] as Holding, { outcome: 'done' })
      const [a] = await claim(9, { limits })
      await finish(a as Holding, { outcome: 'release' })
      expect((await claim(9, { limits, leaseMs: 1 })).map(({ id }) => id)).toEqual(['a'])
      await store.advance(5)
      expect(await reap()).toEqual({ again: ['a'], poisoned: [] })
      expect((await claim(9, { limits })).map(({ id, crashes }) => [id, crashes])).toEqual([['a', 1]])
      expect(await claiming(queue)(9)).toEqual([])
    })

    test('is one less when one is cancelled while it runs, and its worker lost, or takes too many with it', async () => {
      const queue = newQueue()
      const { enqueue, claim, driver, name, trust, store, reap } = queue
      await trust()
      await enqueue({ id: 'a', lane: 'one/a' }, { id: 'b', lane: 'one/a' }, { id: 'c', lane: 'one/a' })
      await claim(1, { limits, leaseMs: 1 })
      expect(await driver.cancel(name, ['a'])).toEqual(['cancelling'])
      await store.advance(5)
      await reap()
      expect((await claim(9, { limits, leaseMs: 1 })).map(({ id }) => id)).toEqual(['b'])
      await store.advance(5)
      expect((await reap(0)).poisoned).toEqual(['b'])
      expect(await claiming(queue)(9)).toEqual(['c'])
    })

    test('may be more once the limit is higher, also where nothing waited when it was full', async () => {
      const queue = newQueue()
      await fill(queue, 3, 'one/a')
      await fill(queue, 1, 'one/b')
      expect(await claiming(queue)(9)).toHaveLength(2)
      expect(await claiming(queue)(9)).toEqual([])
      await fill(queue, 2, 'one/b')
      const more = await queue.claim(9, { limits: { lanes: { ...limits.lanes, one: { concurrency: 2 } } } })
      expect(lanesOf(more.map(({ id }) => id)).toSorted()).toEqual(['one/a', 'one/b'])
      expect(await queue.claim(9, { limits: { lanes: {} } })).toHaveLength(2)
    })

    test('may be more in very many lanes once the limit is higher, in some claims of which none says that it was the last', async () => {
      const queue = newQueue()
      const { driver, name } = queue
      // The model looks at all that wait for each that it gives.
      const count = on === 'model' ? 30 : 900
      const lanes = Array.from({ length: count }, (_, i) => `one/${i}`)
      for (let i = 0; i < lanes.length; i += 300) await fill(queue, 2, ...lanes.slice(i, i + 300))
      const take = async (said: ClaimLimits) => {
        let taken = 0
        for (let dueMs: number | undefined = 0, claims = 0; dueMs === 0 && claims < 50; claims++) {
          const claim = { worker: 'host:1', nonce: newNonce(), count: 1000, leaseMs: longMs, limits: said }
          const reply = await driver.exchange(name, { claim })
          taken += reply.claimed.length
          dueMs = reply.nextDueMs
        }
        return taken
      }
      expect(await take(limits)).toBe(count)
      expect(await take({ lanes: { one: { concurrency: 2 } } })).toBe(count)
    }, 60_000)

    test('is not more when a claim is made again', async () => {
      const queue = newQueue()
      const { driver, rival, name } = queue
      await fill(queue, 5, 'two/a')
      const claim = { worker: 'host:1', nonce: newNonce(), count: 1, leaseMs: longMs, limits }
      const first = await driver.exchange(name, { claim })
      for (const each of [driver, rival]) expect((await each.exchange(name, { claim })).claimed).toEqual(first.claimed)
      expect(await claiming(queue)(9)).toHaveLength(1)
    })

    test('is one less, and one more, in one exchange', async () => {
      const queue = newQueue()
      const { driver, name, claim } = queue
      await fill(queue, 3, 'one/a')
      const [held] = await claim(9, { limits })
      const next = { worker: 'host:1', nonce: newNonce(), count: 9, leaseMs: longMs, limits }
      const reply = await driver.exchange(name, { finish: [{ ...heldOf(held as Holding), outcome: 'done' }], claim: next })
      expect(reply.claimed).toHaveLength(1)
      expect(reply).not.toHaveProperty('nextDueMs')
    })

    test('is never more though many work at once, and all is done', async () => {
      const queue = newQueue()
      const { driver, rival, name } = queue
      const lanes = ['two/a', 'two/b', 'one/a']
      await fill(queue, 30, ...lanes)
      const running = new Map<string, number>()
      const most = new Map<string, number>()
      let done = 0
      async function work(each: typeof driver, worker: number): Promise<void> {
        for (let round = 0; done < 90 && round < 2000; round++) {
          const claim = { worker: `host:${worker}`, nonce: newNonce(), count: 3, leaseMs: longMs, limits }
          const { claimed } = await each.exchange(name, { claim })
          for (const lane of lanesOf(claimed.map(({ id }) => id))) {
            running.set(lane, (running.get(lane) ?? 0) + 1)
            most.set(lane, Math.max(most.get(lane) ?? 0, running.get(lane) ?? 0))
          }
          await Bun.sleep(1)
          for (const { id } of claimed) running.set(laneOf.get(id) ?? '', (running.get(laneOf.get(id) ?? '') ?? 0) - 1)
          const finish = claimed.map(({ id, attempt }) => ({ id, attempt, nonce: claim.nonce, outcome: 'done' as const }))
          if (finish.length > 0) await each.exchange(name, { finish })
          done += claimed.length
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, i) => work(i % 2 === 0 ? driver : rival, i)))
      expect(done).toBe(90)
      expect(Object.fromEntries(most)).toEqual({ 'two/a': 2, 'two/b': 2, 'one/a': 1 })
      expect(await queue.store.leftovers(name)).toEqual([])
    }, 30_000)
  })

  describe('a lane', () => {
    test('gets what falls due, and what is tried again, at the end of its line', async () => {
      const queue = newQueue()
      const { enqueue, store, driver, name, claim, finish } = queue
      await enqueue({ id: 'due', lane: 'one/a', delayMs: shortMs }, { id: 'dead', lane: 'one/a' })
      await finish((await claim(1, { limits }))[0] as Holding, { outcome: 'dead', error: 'no', isFailure: true })
      await enqueue({ id: 'waits', lane: 'one/a' })
      await driver.retry(name, ['dead'])
      await store.advance(shortMs + 5)
      const order: string[] = []
      for (let i = 0; i < 3; i++) {
        const [held] = await claim(9, { limits })
        order.push(held?.id ?? '')
        if (held) await finish(held, { outcome: 'done' })
      }
      expect(order).toEqual(['waits', 'dead', 'due'])
      expect(await claiming(queue)(9)).toEqual([])
    })

    test('that is emptied by operators holds up nobody, and what comes later is found', async () => {
      const queue = newQueue()
      const { enqueue, driver, name } = queue
      const claim = claiming(queue)
      await enqueue({ id: 'a', lane: 'two/a', priority: 0 }, { id: 'b', lane: 'two/a', priority: 3 }, { id: 'c', lane: 'x', priority: 5 })
      expect(await driver.cancel(name, ['a'])).toEqual(['cancelled'])
      expect(await driver.remove(name, ['b'])).toEqual(['removed'])
      expect(await claim(9)).toEqual(['c'])
      expect(await dueOf(queue)).toBeUndefined()
      await enqueue({ id: 'd', lane: 'two/a', priority: 9 })
      expect(await claim(9)).toEqual(['d'])
    })

    test('that is full leaves nothing to be claimed at once, and what it has waits for its end', async () => {
      const queue = newQueue()
      const { enqueue, finish } = queue
      await enqueue({ id: 'a', lane: 'one/a' })
      const [held] = await queue.claim(9, { limits })
      await enqueue({ id: 'b', lane: 'one/a' }, { id: 'c', lane: 'one/b' }, { id: 'd', lane: 'one/b' })
      expect(await dueOf(queue)).toBeUndefined()
      await finish(held as Holding, { outcome: 'done' })
      expect(await claiming(queue)(9)).toEqual(['b'])
    })

    test('leaves nothing behind, and a check finds nothing wrong with it, whatever was done', async () => {
      const queue = newQueue()
      const { driver, name, store, claim, finish } = queue
      await fill(queue, 3, 'one/a', 'two/b', undefined)
      const held = await claim(9, { limits })
      for (const fix of [false, true]) expect(await findingsOf(driver, name, fix)).toEqual([])
      for (const each of held) await finish(each, { outcome: 'retry', delayMs: 0, error: 'no' })
      expect(await findingsOf(driver, name, false)).toEqual([])
      for (let i = 0; i < 9; i++) for (const each of await claim(9, { limits })) await finish(each, { outcome: 'done' })
      expect(await findingsOf(driver, name, false)).toEqual([])
      expect(await store.leftovers(name)).toEqual([])
    })
  })
}
