import { describe, expect, test } from 'bun:test'
import type { Cache, CacheChange, CacheRule } from '@/core/cache'
import type { Database } from '@/core/database'
import { databaseErrors } from '@/infra/database/errors'
import type { Backing } from '../backings'
import { type Card, cardStore, cards, newCard, type Process, ttlMs } from './copies-fixture'
import { randomOperations } from './copies-random'
import { createTable, failure, openAgain, withTx } from './fixture'

/**
 * What a store with copies promises, on whichever database and cache.
 * @param openCache of one process. @param processes how many share the database
 */
export function copySuite(
  open: () => Promise<Backing>,
  openCache: (changedElsewhere: (() => boolean) | undefined) => Promise<Cache>,
): void {
  async function start(backing: Backing): Promise<Process> {
    const late: { cache?: Cache } = {}
    const db = await openAgain(backing)
    const cache = await openCache('changedElsewhere' in db ? (db.changedElsewhere as () => boolean) : undefined)
    late.cache = cache
    let asked = 0
    const first: Database['first'] = (...call) => {
      asked++
      return db.first(...call)
    }
    const counting: Database = { ...withTx(db, () => ({ cache })), first, cache }
    return {
      db: counting,
      store: cardStore(counting),
      asked: () => asked,
      close: () => Promise.all([db.close(), cache.close()]).then(() => {}),
    }
  }

  async function withProcesses(number: number, work: (...processes: Process[]) => Promise<void>): Promise<void> {
    const backing = await open()
    const processes: Process[] = []
    try {
      for (let i = 0; i < number; i++) processes.push(await start(backing))
      await createTable((processes[0] as Process).db, cards)
      await work(...processes)
    } finally {
      for (const process of processes) await process.close()
      await backing.dispose()
    }
  }

  test('a row that was read, or written, is not asked of the database again', () =>
    withProcesses(1, one =>
      whileCopiesLive(async attempt => {
        const code = `c${attempt}`
        const card = await one.store.create(newCard({ code, photo: new Uint8Array([0, 1, 255]) }))
        const before = one.asked()
        for (let i = 0; i < 5; i++) expect(await one.store.get(card.id)).toEqual(card)
        expect(one.asked()).toBe(before)
        for (let i = 0; i < 5; i++) {
          expect(await one.store.find({ name: card.name })).toEqual(card)
          expect(await one.store.find({ kind: 'red', code }, { select: ['amount'] })).toEqual({ amount: 0 })
        }
        expect(one.asked()).toBe(before + 2)
        expect(await one.store.get(card.id, { from: 'primary' })).toEqual(card)
        expect(one.asked()).toBe(before + 3)
      }),
    ))

  test('that there is no row is kept, too, until there is one', () =>
    withProcesses(1, async one => {
      const { name } = newCard()
      for (let i = 0; i < 3; i++) expect(await one.store.find({ name })).toBeUndefined()
      expect(one.asked()).toBe(1)
      const card = await one.store.create(newCard({ name }))
      expect(await one.store.find({ name })).toEqual(card)
    }))

  test('of a thousand who read a cold row at once, one asks the database', () =>
    withProcesses(2, async (one, other) => {
      const card = await one.store.create(newCard())
      const cold = other
      const rows = await Promise.all(Array.from({ length: 1000 }, () => cold.store.find({ name: card.name })))
      expect(rows).toEqual(Array(1000).fill(card))
      expect(cold.asked()).toBe(1)
    }))

  test('every way of changing a row is seen at once by whoever changed it', () =>
    withProcesses(1, async one => {
      const { store } = one
      let card = await store.create(newCard({ code: 'x' }))
      const look = () =>
        Promise.all([store.get(card.id), store.find({ name: card.name }), store.find({ kind: card.kind, code: card.code ?? 'x' })])
      expect(await look()).toEqual([card, card, card])
      card = (await store.update(card.id, { amount: 1 })) as Card
      expect(await look()).toEqual([card, card, card])
      await store.updateMany({ id: card.id }, { amount: 2 })
      expect((await look()).map(row => row?.amount)).toEqual([2, 2, 2])
      card = (await store.upsert({ ...newCard(), name: card.name, amount: 3 }, ['name'])).row
      expect((await look()).map(row => row?.amount)).toEqual([3, 3, 3])
      await store.delete(card.id)
      expect(await look()).toEqual([undefined, undefined, undefined])
      card = (await store.restore(card.id)) as Card
      expect((await look()).map(row => row?.id)).toEqual([card.id, card.id, card.id])
      const { name } = card
      card = (await store.update(card.id, { name: `${name} renamed` })) as Card
      expect(await store.find({ name })).toBeUndefined()
      expect((await look()).map(row => row?.id)).toEqual([card.id, card.id, card.id])
      const successor = await store.create(newCard({ name }))
      expect(await store.find({ name })).toEqual(successor)
      await store.deleteMany({ id: card.id })
      expect(await look()).toEqual([undefined, undefined, undefined])
      await store.delete(card.id, { forever: true })
      await store.delete(successor.id, { forever: true })
      expect([await store.get(successor.id), await store.find({ name })]).toEqual([undefined, undefined])
    }))

  test('what a transaction writes is copied when it is committed, and never when it is undone', () =>
    withProcesses(1, async one => {
      const card = await one.store.create(newCard())
      const undone = one.db.tx(async tx => {
        await cardStore(tx).update(card.id, { amount: 9 })
        expect((await cardStore(tx).get(card.id))?.amount).toBe(9)
        throw new Error('no')
      })
      expect(await failure(undone)).toBe('no')
      expect(await one.store.get(card.id)).toEqual(card)
      await one.db.tx(tx => cardStore(tx).update(card.id, { amount: 9 }))
      expect((await one.store.get(card.id))?.amount).toBe(9)
    }))

  test('a value in another spelling leads to the same copy', () =>
    withProcesses(1, async ({ store }) => {
      const card = await store.create(newCard({ price: '2' }))
      expect(await store.find({ price: '2' })).toEqual(card)
      expect(await failure(store.refuseTaken({ price: '2.0' }))).toBe('Conflict.SlugTaken')
      await store.update(card.id, { price: '3' })
      for (const price of ['2', '2.0', '2.00']) expect(await store.find({ price })).toBeUndefined()
      expect((await store.find({ price: '3.0' }))?.id).toBe(card.id)
    }))

  test('the outer database is refused inside a transaction also where a copy would answer', () =>
    withProcesses(1, async ({ db, store }) => {
      const card = await store.create(newCard())
      for (const read of [() => store.get(card.id), () => store.find({ name: card.name })]) {
        await read()
        expect(await failure(db.tx(read))).toContain('the outer database was used inside a transaction')
      }
    }))

  test('what is asked for wrongly is refused, be there a copy or not', () =>
    withProcesses(1, async ({ store }) => {
      const { id, name } = await store.create(newCard())
      expect(await failure(store.get(id, { select: ['nope'] as never }))).toContain('has no column')
      expect(await failure(store.find({ name }, { orderBy: 'nope' }))).toBe('InvalidArgument.OrderBy')
    }))

  test('after a write whose answer never came, what is there is read', () =>
    withProcesses(1, async ({ db, store }) => {
      const card = await store.create(newCard())
      const deaf: Database = {
        ...db,
        run: async (...call) => {
          await db.run(...call)
          throw databaseErrors.QueryTimeout()
        },
      }
      const look = async () => [await store.get(card.id), await store.find({ name: card.name })].map(row => row?.amount)
      await look()
      expect(await failure(cardStore(deaf).update(card.id, { amount: 5 }))).toBe('Timeout.QueryTimeout')
      expect(await look()).toEqual([5, 5])
      expect(await failure(cardStore(deaf).delete(card.id, { forever: true }))).toBe('Timeout.QueryTimeout')
      expect(await look()).toEqual([undefined, undefined])
      const { name } = newCard()
      expect(await store.find({ name })).toBeUndefined()
      expect(await failure(cardStore(deaf).create(newCard({ name })))).toBe('Timeout.QueryTimeout')
      expect((await store.find({ name }))?.name).toBe(name)
    }))

  test('a row that is renamed while it is removed leaves no copy under its new name', () =>
    withProcesses(1, async ({ db, store }) => {
      const card = await store.create(newCard())
      const name = `${card.name} renamed`
      let isFirst = true
      const interrupted: Database = {
        ...db,
        first: async (...call) => {
          const row = await db.first(...call)
          if (isFirst) {
            isFirst = false
            await store.update(card.id, { name })
            expect((await store.find({ name }))?.id).toBe(card.id)
          }
          return row
        },
      }
      expect(await cardStore(interrupted).delete(card.id, { forever: true })).toBe(true)
      expect(await store.find({ name })).toBeUndefined()
      expect(await store.get(card.id)).toBeUndefined()
    }))

  test('a slow reader does not put an old row over a new one', () =>
    withProcesses(2, async one => {
      const card = await one.store.create(newCard())
      for (const change of [() => one.store.update(card.id, { amount: 1 }), () => one.store.delete(card.id)]) {
        const held = Promise.withResolvers<void>()
        const reading = Promise.withResolvers<void>()
        const slow: Database = {
          ...one.db,
          first: async (...call) => {
            const row = await one.db.first(...call)
            reading.resolve()
            await held.promise
            return row
          },
        }
        const before = await one.store.get(card.id, { from: 'primary' })
        // Not in the cache any more, so that it has to be read.
        await forget(one, card.id)
        const late = cardStore(slow).get(card.id)
        await reading.promise
        await change()
        held.resolve()
        expect(await late).toEqual(before)
        const after = await one.store.get(card.id, { from: 'primary' })
        for (let i = 0; i < 3; i++) expect(await one.store.get(card.id)).toEqual(after)
      }
    }))

  describe('ten thousand operations at random, by several writers in two processes', () => {
    test(
      'no one reads less than they were told was written, and no copy outlives its time',
      () => withProcesses(2, async (...processes) => randomOperations(processes, 10_000)),
      120_000,
    )
  })
}

/** Makes the cache forget a row. Which key and rule the store uses for it is its own business, so it is asked. */
async function forget({ db }: Process, id: string): Promise<void> {
  const asked: CacheChange[] = []
  const spy = { fetch: async (key: string, _load: unknown, rule: CacheRule) => void asked.push({ key, rule }) } as unknown as Cache
  await cardStore({ ...db, cache: spy }).get(id)
  await db.cache?.write(asked)
}

const attemptsMax = 10

/** What took a busy machine longer than copies live says nothing, and is done again. */
async function whileCopiesLive(work: (attempt: number) => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const sinceMs = performance.now()
    try {
      return await work(attempt)
    } catch (thrown) {
      if (performance.now() - sinceMs < ttlMs / 2 || attempt === attemptsMax) throw thrown
    }
  }
}
