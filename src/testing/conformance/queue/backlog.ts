import { describe, expect, test } from 'bun:test'
import type { NewTask } from '@/infra/queue/driver'
import { longMs, type TestQueue } from './fixture'

/** A queue that takes only so many. */
export function backlogSuite(newQueue: () => TestQueue): void {
  const enqueuing =
    ({ driver, name, newTask }: TestQueue, backlogMax: number) =>
    async (...over: Partial<NewTask>[]) =>
      (await driver.enqueue(name, over.map(newTask), { backlogMax })).map(({ status }) => status)

  test('while so many wait what comes is refused, and nothing is left of it', async () => {
    const queue = newQueue()
    const enqueue = enqueuing(queue, 2)
    expect([await enqueue({ id: 'a' }), await enqueue({ id: 'b' })]).toEqual([['enqueued'], ['enqueued']])
    expect(await queue.driver.enqueue(queue.name, [queue.newTask({ id: 'c', isIdKept: true })], { backlogMax: 2 })).toEqual([
      { id: 'c', status: 'full' },
    ])
    expect(await queue.ids('waiting')).toEqual(['a', 'b'])
    expect(await queue.show('c')).toBeUndefined()
    expect((await queue.driver.stats(queue.name)).total.enqueued).toBe(2)
  })

  test('those that are scheduled count, and those in lanes; what runs or is dead does not', async () => {
    const queue = newQueue()
    const { claimOne, finish } = queue
    const enqueue = enqueuing(queue, 2)
    await enqueue({ id: 'dead' })
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    await enqueue({ id: 'active' })
    await claimOne()
    expect(await enqueue({ delayMs: longMs }, { lane: 'mail/a' })).toEqual(['enqueued', 'enqueued'])
    expect(await enqueue({})).toEqual(['full'])
  })

  test('it is looked at once for all of a call', async () => {
    const queue = newQueue()
    const enqueue = enqueuing(queue, 2)
    expect(await enqueue({}, {}, {})).toEqual(['enqueued', 'enqueued', 'enqueued'])
    expect(await enqueue({}, {})).toEqual(['full', 'full'])
  })

  test('as soon as one has started there is room', async () => {
    const queue = newQueue()
    const enqueue = enqueuing(queue, 1)
    await enqueue({})
    expect(await enqueue({ id: 'a' })).toEqual(['full'])
    await queue.claimOne()
    expect(await enqueue({ id: 'a' })).toEqual(['enqueued'])
  })

  test('who says no number is never refused', async () => {
    const queue = newQueue()
    await enqueuing(queue, 1)({})
    const [reply] = await queue.enqueue({})
    expect(reply?.status).toBe('enqueued')
  })

  describe('who says again what was accepted before it was full', () => {
    test('is told that it is there', async () => {
      const queue = newQueue()
      const enqueue = enqueuing(queue, 1)
      expect(await enqueue({ id: 'a' })).toEqual(['enqueued'])
      expect(await enqueue({ id: 'a' }, { id: 'b' })).toEqual(['duplicate', 'full'])
    })

    test('is told of an id that is remembered', async () => {
      const queue = newQueue()
      const enqueue = enqueuing(queue, 1)
      await enqueue({ id: 'a', isIdKept: true })
      await queue.finish(await queue.claimOne(), { outcome: 'done' })
      await enqueue({ id: 'b' })
      expect(await enqueue({ id: 'a', isIdKept: true })).toEqual(['duplicate'])
    })

    test('is told who has the unique key', async () => {
      const queue = newQueue()
      const unique = { key: 'k'.repeat(22), forMs: longMs }
      await enqueuing(queue, 1)({ id: 'a', unique })
      expect(await queue.driver.enqueue(queue.name, [queue.newTask({ id: 'b', unique })], { backlogMax: 1 })).toEqual([
        { id: 'a', status: 'unique' },
      ])
    })
  })
}
