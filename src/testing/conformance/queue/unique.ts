import { describe, expect, test } from 'bun:test'
import { type Holding, longMs, shortMs, type TestQueue } from './fixture'

const key = 'abcdefghijklmnopqrstuv'
const unique = { key, forMs: longMs }

/** Of tasks with one unique key one is there at a time. */
export function uniqueSuite(newQueue: () => TestQueue): void {
  test('While a task with a unique key waits or runs, another with that key is not enqueued', async () => {
    const { enqueue, all, show } = newQueue()
    expect(await enqueue({ id: 'first', unique }, { id: 'second', unique })).toEqual([
      { id: 'first', status: 'enqueued' },
      { id: 'first', status: 'unique' },
    ])
    expect(await enqueue({ id: 'third', unique })).toEqual([{ id: 'first', status: 'unique' }])
    expect(await show('second')).toBeUndefined()
    expect(await all()).toEqual({ waiting: ['first'], scheduled: [], active: [], dead: [] })
  })

  test('another key, or none, is not held up', async () => {
    const { enqueue } = newQueue()
    const replies = await enqueue({ unique }, { unique: { key: 'b'.repeat(22), forMs: longMs } }, {})
    expect(replies.map(({ status }) => status)).toEqual(['enqueued', 'enqueued', 'enqueued'])
  })

  test('an id that was refused for its key is not remembered', async () => {
    const { enqueue } = newQueue()
    await enqueue({ id: 'first', unique })
    await enqueue({ id: 'refused', unique, isIdKept: true })
    expect(await enqueue({ id: 'refused', isIdKept: true })).toEqual([{ id: 'refused', status: 'enqueued' }])
  })

  test('who repeats both its id and its key is a duplicate of itself', async () => {
    const { enqueue, claimOne, finish } = newQueue()
    await enqueue({ id: 'first', isIdKept: true, unique })
    expect(await enqueue({ id: 'first', isIdKept: true, unique })).toEqual([{ id: 'first', status: 'duplicate' }])
    await finish(await claimOne(), { outcome: 'done' })
    expect(await enqueue({ id: 'first', isIdKept: true, unique })).toEqual([{ id: 'first', status: 'duplicate' }])
  })

  test('a duplicate does not take a key', async () => {
    const { enqueue } = newQueue()
    await enqueue({ id: 'there' })
    expect(await enqueue({ id: 'there', unique })).toEqual([{ id: 'there', status: 'duplicate' }])
    expect(await enqueue({ id: 'other', unique })).toEqual([{ id: 'other', status: 'enqueued' }])
  })

  describe('the key is held', () => {
    const lives: Record<string, (queue: TestQueue, held: Holding) => Promise<unknown>> = {
      'while its task runs': async () => {},
      'while it waits to be tried again': ({ finish }, held) => finish(held, { outcome: 'retry', delayMs: longMs, error: 'no' }),
      'while it snoozes': ({ finish }, held) => finish(held, { outcome: 'snooze', delayMs: longMs }),
      'after it was released': ({ finish }, held) => finish(held, { outcome: 'release' }),
      'after its worker was lost': async ({ driver, name, store, trust, reap }, { id, attempt, nonce }) => {
        await trust()
        await driver.beat(name, 1, [{ id, attempt, nonce }])
        await store.advance(5)
        await reap()
      },
      'while its end is asked for': ({ driver, name }, { id }) => driver.cancel(name, [id]),
    }
    for (const [when, live] of Object.entries(lives)) {
      test(when, async () => {
        const queue = newQueue()
        await queue.enqueue({ id: 'first', unique })
        await live(queue, await queue.claimOne({ leaseMs: 1 }))
        expect(await queue.enqueue({ id: 'second', unique })).toEqual([{ id: 'first', status: 'unique' }])
      })
    }

    test('while its task is scheduled', async () => {
      const { enqueue } = newQueue()
      await enqueue({ id: 'first', unique, delayMs: longMs })
      expect(await enqueue({ id: 'second', unique })).toEqual([{ id: 'first', status: 'unique' }])
    })
  })

  describe('the key is free', () => {
    const ends: Record<string, (queue: TestQueue) => Promise<unknown>> = {
      'when its task is done': async ({ claimOne, finish }) => finish(await claimOne(), { outcome: 'done' }),
      'when it was cancelled before it began': ({ driver, name }) => driver.cancel(name, ['first']),
      'when it was cancelled while it ran': async ({ claimOne, finish }) => finish(await claimOne(), { outcome: 'cancelled' }),
      'when it is dead': async ({ claimOne, finish }) => finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true }),
      'when it was removed': ({ driver, name }) => driver.remove(name, ['first']),
      'when it was poison': async ({ claimOne, trust, store, reap }) => {
        await trust()
        await claimOne({ leaseMs: 1 })
        await store.advance(5)
        await reap(0)
      },
    }
    for (const [when, end] of Object.entries(ends)) {
      test(when, async () => {
        const queue = newQueue()
        await queue.enqueue({ id: 'first', unique })
        await end(queue)
        expect(await queue.enqueue({ id: 'second', unique })).toEqual([{ id: 'second', status: 'enqueued' }])
      })
    }

    test('after its time, though its task lives, whose end does not free the key of the next', async () => {
      const { enqueue, until, claimOne, finish, all, driver, name } = newQueue()
      const short = { key, forMs: shortMs }
      await enqueue({ id: 'first', unique: short })
      const held = await claimOne()
      expect(await enqueue({ id: 'early', unique })).toEqual([{ id: 'first', status: 'unique' }])
      await until(async () => (await enqueue({ id: 'second', unique }))[0]?.status === 'enqueued')
      expect((await all()).active).toEqual(['first'])
      expect(await finish(held, { outcome: 'done' })).toBe('ok')
      expect(await enqueue({ id: 'third', unique })).toEqual([{ id: 'second', status: 'unique' }])
      expect(await driver.cancel(name, ['second'])).toEqual(['cancelled'])
      expect(await enqueue({ id: 'third', unique })).toEqual([{ id: 'third', status: 'enqueued' }])
    })
  })

  const deaths: Record<string, (queue: TestQueue, held: Holding) => Promise<unknown>> = {
    failed: ({ finish }, held) => finish(held, { outcome: 'dead', error: 'no', isFailure: true }),
    'was poison': async ({ store, reap }) => {
      await store.advance(5)
      await reap(0)
    },
  }
  for (const [why, die] of Object.entries(deaths)) {
    test(`a dead letter that ${why} and is tried again has its key again`, async () => {
      const queue = newQueue()
      const { trust, enqueue, claimOne, finish, driver, name } = queue
      await trust()
      await enqueue({ id: 'first', unique })
      await die(queue, await claimOne({ leaseMs: 1 }))
      expect(await driver.retry(name, ['first'])).toEqual(['retried'])
      expect(await enqueue({ id: 'second', unique })).toEqual([{ id: 'first', status: 'unique' }])
      await finish(await claimOne(), { outcome: 'done' })
      expect(await enqueue({ id: 'third', unique })).toEqual([{ id: 'third', status: 'enqueued' }])
    })
  }

  test('a dead letter that is tried again has its key for as long as was said, though its time was over before', async () => {
    const { enqueue, until, claimOne, finish, driver, name, all } = newQueue()
    const short = { key, forMs: shortMs }
    await enqueue({ id: 'first', unique: short })
    const first = await claimOne()
    await until(async () => (await enqueue({ id: 'second', unique: short }))[0]?.status === 'enqueued')
    await finish(first, { outcome: 'dead', error: 'no', isFailure: true })
    expect(await driver.cancel(name, ['second'])).toEqual(['cancelled'])
    expect(await driver.retry(name, ['first'])).toEqual(['retried'])
    expect(await enqueue({ id: 'third', unique })).toEqual([{ id: 'first', status: 'unique' }])
    await until(async () => (await enqueue({ id: 'third', unique }))[0]?.status === 'enqueued')
    expect((await all()).waiting).toEqual(['first', 'third'])
  })

  test('a dead letter that is tried again does not take its key from another', async () => {
    const { enqueue, claimOne, finish, driver, name } = newQueue()
    await enqueue({ id: 'first', unique })
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    await enqueue({ id: 'second', unique })
    const second = await claimOne()
    expect(await driver.retry(name, ['first'])).toEqual(['retried'])
    expect(await finish(await claimOne(), { outcome: 'done' })).toBe('ok')
    expect(await enqueue({ id: 'third', unique })).toEqual([{ id: 'second', status: 'unique' }])
    await finish(second, { outcome: 'done' })
    expect((await enqueue({ id: 'third', unique }))[0]?.status).toBe('enqueued')
  })

  test('of many processes that enqueue one key at once one wins, and the others are told its id', async () => {
    const { driver, rival, name, newTask, ids } = newQueue()
    const calls = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? driver : rival).enqueue(name, [newTask({ unique })]))
    const replies = (await Promise.all(calls)).flat()
    const winners = replies.filter(({ status }) => status === 'enqueued')
    expect(winners).toHaveLength(1)
    expect(new Set(replies.map(({ id }) => id))).toEqual(new Set([winners[0]?.id as string]))
    expect(await ids('waiting')).toHaveLength(1)
  })
}
