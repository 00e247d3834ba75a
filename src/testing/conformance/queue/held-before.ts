import { describe, expect, test } from 'bun:test'
import { beforeMax } from '@/infra/queue/driver'
import { findingsOf, type Holding, longMs, type TestQueue } from './fixture'
import { heldScene } from './held-scene'

/** What a held task knows of those that it waits for, and what operators do with it. */
export function heldBeforeSuite(newQueue: () => TestQueue): void {
  const { together, endAll } = heldScene(newQueue)

  describe('that comes later than they end', () => {
    test('waits for those that have not ended, and not for the others', async () => {
      const queue = await together(3, { isLate: true })
      const [a, b, c] = (await queue.claim(3)) as [Holding, Holding, Holding]
      await queue.finish(a, { outcome: 'done', result: '1' })
      await queue.finish(b, { outcome: 'dead', error: 'no', isFailure: true })
      await queue.enqueueLast()
      expect(await queue.show('last')).toMatchObject({ state: 'held', heldFor: 1 })
      await queue.finish(c, { outcome: 'done' })
      expect((await queue.claimOne()).id).toBe('last')
      expect(await queue.driver.before(queue.name, 'last')).toEqual([
        { id: a.id, outcome: 'done', result: '1' },
        { id: b.id, outcome: 'dead' },
        { id: c.id, outcome: 'done' },
      ])
    })

    test('starts at once when all have, or after its delay', async () => {
      const queue = await together(2, { isLate: true, last: { delayMs: longMs } })
      await endAll(queue)
      await queue.enqueueLast()
      expect(await queue.ids('scheduled')).toEqual(['last'])
      const other = await together(2, { isLate: true })
      await endAll(other)
      await other.enqueueLast()
      expect((await other.claimOne()).id).toBe('last')
    })

    test('and needs them done: waits for a dead letter, is not there when one was cancelled', async () => {
      const needing = { last: { after: { count: 1, isDoneNeeded: true } }, isLate: true }
      const queue = await together(1, needing)
      await endAll(queue, { outcome: 'dead', error: 'no', isFailure: true })
      await queue.enqueueLast()
      expect(await queue.show('last')).toMatchObject({ state: 'held', heldFor: 1 })
      await queue.driver.retry(queue.name, ['member-000'])
      await endAll(queue)
      expect((await queue.claimOne()).id).toBe('last')

      const other = await together(1, {
        ...needing,
        last: { ...needing.last, isIdKept: true, follower: { id: 'next', wantsResult: true } },
      })
      await other.enqueue({ id: 'next', after: { count: 1, isDoneNeeded: true } })
      await other.driver.cancel(other.name, ['member-000'])
      expect(await other.enqueueLast()).toEqual([{ id: 'last', status: 'enqueued' }])
      expect(await other.show('last')).toBeUndefined()
      expect(await other.show('next')).toBeUndefined()
      expect((await other.driver.stats(other.name)).total).toMatchObject({ enqueued: 3, cancelled: 3 })
      expect(await other.enqueueLast()).toEqual([{ id: 'last', status: 'duplicate' }])
      expect(await other.store.leftovers(other.name)).toEqual([])
    })

    test('a dead letter that was removed before it came ends it as well', async () => {
      const queue = await together(1, { last: { after: { count: 1, isDoneNeeded: true } }, isLate: true })
      await endAll(queue, { outcome: 'dead', error: 'no', isFailure: true })
      await queue.driver.remove(queue.name, ['member-000'])
      await queue.enqueueLast()
      expect(await queue.show('last')).toBeUndefined()
    })
  })

  describe('knows how they ended', () => {
    test('and what is more certain stands, though another of that id ends otherwise', async () => {
      const queue = await together(1, { isLate: true })
      await queue.driver.cancel(queue.name, ['member-000'])
      await queue.enqueue({ id: 'member-000', follower: { id: 'last', wantsResult: true } })
      await endAll(queue, { outcome: 'dead', error: 'no', isFailure: true })
      expect(await queue.driver.before(queue.name, 'last')).toEqual([{ id: 'member-000', outcome: 'cancelled' }])
      await queue.driver.retry(queue.name, ['member-000'])
      await endAll(queue, { outcome: 'done', result: '1' })
      expect(await queue.driver.before(queue.name, 'last')).toEqual([{ id: 'member-000', outcome: 'done', result: '1' }])
    })

    test('with the results that it wants, in the order of their ids, as long as it is there', async () => {
      const queue = newQueue()
      await queue.enqueue(
        { id: 'last', after: { count: 3, isDoneNeeded: false } },
        { id: 'b', follower: { id: 'last', wantsResult: true } },
        { id: 'a', follower: { id: 'last', wantsResult: true } },
        { id: 'c', follower: { id: 'last', wantsResult: false } },
      )
      const claimed = await queue.claim(3)
      for (const held of claimed) await queue.finish(held, { outcome: 'done', result: `{"of":"${held.id}é"}` })
      const expected = [
        { id: 'a', outcome: 'done' as const, result: '{"of":"aé"}' },
        { id: 'b', outcome: 'done' as const, result: '{"of":"bé"}' },
        { id: 'c', outcome: 'done' as const },
      ]
      for (const _ of [1, 2]) {
        const last = await queue.claimOne()
        expect(await queue.rival.before(queue.name, 'last')).toEqual(expected)
        await queue.finish(last, { outcome: 'retry', delayMs: 0, error: 'no' })
      }
      await queue.finish(await queue.claimOne(), { outcome: 'done' })
      expect(await queue.driver.before(queue.name, 'last')).toEqual([])
    })

    test('of a task that waits for none there is nothing to know', async () => {
      const queue = newQueue()
      await queue.enqueue({ id: 'plain' })
      expect(await queue.driver.before(queue.name, 'plain')).toEqual([])
      expect(await queue.driver.before(queue.name, 'nobody')).toEqual([])
    })

    test('of more than a hundred, at most a hundred', async () => {
      const queue = await together(beforeMax + 1)
      await endAll(queue)
      expect((await queue.claimOne()).id).toBe('last')
      const ended = await queue.driver.before(queue.name, 'last')
      expect(ended).toHaveLength(beforeMax)
      expect(new Set(ended.map(({ id }) => id)).size).toBe(beforeMax)
    })
  })

  describe('in the hands of operators', () => {
    test('is listed in the order in which it came, a page at a time', async () => {
      const queue = newQueue()
      const ids = ['e', 'd', 'c', 'b', 'a']
      for (const id of ids) {
        await queue.enqueue({ id, after: { count: 1, isDoneNeeded: false } })
        await queue.store.advance(2)
      }
      expect(await queue.ids('held')).toEqual(ids)
      const first = await queue.driver.list(queue.name, 'held', 2)
      const second = await queue.driver.list(queue.name, 'held', 3, first.cursor)
      expect([...first.tasks, ...second.tasks].map(({ id }) => id)).toEqual(ids)
      expect(second.cursor).toBeUndefined()
      expect(first.tasks[0]).toMatchObject({ state: 'held', heldFor: 1, priority: 5, attempt: 0 })
    })

    test('is cancelled or removed like one that waits, and comes back when its id may be used again', async () => {
      const queue = await together(2)
      expect(await queue.driver.retry(queue.name, ['last'])).toEqual(['alive'])
      expect(await queue.driver.cancel(queue.name, ['last'])).toEqual(['cancelled'])
      expect(await queue.driver.cancel(queue.name, ['last'])).toEqual(['absent'])
      expect((await queue.driver.stats(queue.name)).held).toBe(0)
      await queue.enqueue({ id: 'other', after: { count: 2, isDoneNeeded: false } })
      expect(await queue.driver.remove(queue.name, ['other'])).toEqual(['removed'])
      expect(await queue.show('other')).toBeUndefined()
      // Those that it waited for go on, and leave nothing behind for ever.
      expect(await endAll(queue)).toEqual(queue.members)
      expect(await queue.store.leftovers(queue.name)).toEqual([])
      expect(await findingsOf(queue.driver, queue.name, false)).toEqual([])
    })

    test('an id that is kept is remembered when it is cancelled', async () => {
      const queue = await together(1, { last: { isIdKept: true } })
      await queue.driver.cancel(queue.name, ['last'])
      expect(await queue.enqueueLast()).toEqual([{ id: 'last', status: 'duplicate' }])
    })
  })
}
