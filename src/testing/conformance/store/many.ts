import { describe, expect, test } from 'bun:test'
import type { Backing } from '../../backings'
import { failure, newThing, openAgain, thingStore, useThings } from '../fixture'

/** What a store promises of many rows at a time, on whichever database. */
export function manySuite(open: () => Promise<Backing>): void {
  const things = useThings(open)
  const several = (count: number, over: object = {}) => Array.from({ length: count }, () => newThing(over))

  describe('adding', () => {
    test('many rows come back in their order, as they are stored', async () => {
      for (const count of [0, 1, 99, 100, 101, 250]) {
        const given = several(count)
        const made = await things.store.createMany(given)
        expect(made.map(row => row.name)).toEqual(given.map(row => row.name))
        expect(await things.store.getMany(made.map(row => row.id))).toEqual(made)
      }
    })
    test('all of them or none, wherever the one stands that cannot be', async () => {
      const taken = await things.store.create(newThing())
      const before = await things.store.count()
      for (const at of [0, 100, 149]) {
        const rows = several(150)
        rows[at] = newThing({ code: taken.code })
        expect(await failure(things.store.createMany(rows))).toBe('Conflict.CodeTaken')
      }
      const twice = newThing()
      expect(await failure(things.store.createMany([twice, twice]))).toBe('Conflict.NameTaken')
      expect(await failure(things.store.createMany([newThing(), { ...newThing(), amount: 1.5 }]))).toBe('Unprocessable.Value')
      expect(await things.store.count()).toBe(before)
    })
    test('more than the limit is refused', async () => {
      const before = await things.store.count()
      expect(await failure(things.store.createMany(several(1001)))).toBe('InvalidArgument.TooMany')
      expect(await failure(things.store.getMany(Array.from({ length: 1001 }, () => Bun.randomUUIDv7())))).toBe('InvalidArgument.TooMany')
      expect(await things.store.count()).toBe(before)
    })
  })

  describe('reading', () => {
    test('by ids: in their order, those that are not there left out, one asked for twice twice', async () => {
      const [a, b, c] = await things.store.createMany(several(3))
      const ids = [c?.id, 'nope', Bun.randomUUIDv7(), a?.id, c?.id, '', b?.id] as string[]
      expect(await things.store.getMany(ids)).toEqual([c, a, c, b] as never)
      expect(await things.store.getMany([])).toEqual([])
    })
    test('only the columns that were selected', async () => {
      const made = await things.store.create(newThing({ note: 'n' }))
      const { id, name, note } = made
      expect(await things.store.get(id, { select: ['name'] })).toEqual({ name })
      expect(await things.store.get(id, { select: ['note', 'id'] })).toEqual({ note: 'n', id })
      expect(await things.store.find({ name }, { select: ['note'] })).toEqual({ note: note as string })
      expect(await things.store.getMany([id], { select: ['name'] })).toEqual([{ name }])
      expect((await things.store.list({ where: { name }, select: ['name'], orderBy: 'amount' })).items).toEqual([{ name }])
      const all = []
      for await (const row of things.store.iterate({ where: { name }, select: ['name'] })) all.push(row)
      expect(all).toEqual([{ name }])
    })
    test('nothing and what is not there cannot be selected', async () => {
      const { id } = await things.store.create(newThing())
      for (const select of [[], ['nope'], ['name', '"name"']] as never[]) {
        expect(await failure(things.store.get(id, { select }))).toMatch(/has no column|names no column/)
        expect(await failure(things.store.list({ select }))).toMatch(/has no column|names no column/)
      }
    })
    test('the first in an order', async () => {
      await things.store.createMany([3, 1, 2].map(amount => newThing({ amount, note: 'ordered' })))
      expect((await things.store.find({ note: 'ordered' }, { orderBy: 'amount' }))?.amount).toBe(1)
      expect((await things.store.find({ note: 'ordered' }, { orderBy: 'amount desc' }))?.amount).toBe(3)
    })
    test('pages say how many there are only when asked', async () => {
      await things.store.createMany(several(7, { note: 'total' }))
      const where = { note: 'total' }
      const page = await things.store.list({ where, pageSize: 3, total: true })
      expect([page.items.length, page.total]).toEqual([3, 7])
      expect('total' in (await things.store.list({ where, pageSize: 3 }))).toBe(false)
    })
    test('iterating goes over every row once, a batch at a time, although rows come and go', async () => {
      const made = await things.store.createMany(several(25, { note: 'iterated' }))
      const seen: string[] = []
      for await (const { id } of things.store.iterate({ where: { note: 'iterated' }, batchSize: 4 })) {
        seen.push(id)
        // Never the next: what a batch holds has been read.
        if (seen.length === 10) await things.store.delete(made[20]?.id as string)
        await things.store.create(newThing({ note: 'passing' }))
      }
      expect(seen).toEqual(made.map(row => row.id).filter((_, i) => i !== 20))
      for (const batchSize of [0, 1001, 1.5, Number.NaN]) {
        expect(await failure(things.store.iterate({ batchSize }).next())).toBe('batchSize is a whole number from 1 to 1000')
      }
    })
  })

  describe('changing', () => {
    test('every row that matches goes one version on, and only those', async () => {
      const note = 'many'
      const made = await things.store.createMany([...several(3, { note, isOpen: true }), ...several(2, { note, isOpen: false })])
      expect(await things.store.updateMany({ note, isOpen: true }, { amount: 5, note: null })).toBe(3)
      const rows = await things.store.getMany(made.map(row => row.id))
      expect(rows.map(({ amount, version, note }) => [amount === 5, version, note])).toEqual([
        [true, 2, undefined],
        [true, 2, undefined],
        [true, 2, undefined],
        [false, 1, note],
        [false, 1, note],
      ])
      for (const row of rows.slice(0, 3)) expect(row.updatedAt > row.createdAt).toBe(true)
      expect(await things.store.updateMany({ note }, {})).toBe(0)
    })
    test('a value that only one row can have is refused for many, and nothing changes', async () => {
      await things.store.createMany(several(2, { note: 'clash' }))
      expect(await failure(things.store.updateMany({ note: 'clash' }, { code: `code of ${Bun.randomUUIDv7()}` }))).toBe(
        'Conflict.CodeTaken',
      )
      expect(await things.store.count({ note: 'clash', version: 1 })).toBe(2)
    })
    test('rows that match are removed, and only those', async () => {
      await things.store.createMany([...several(3, { note: 'gone' }), ...several(1, { note: 'kept' })])
      expect(await things.store.deleteMany({ note: 'gone' })).toBe(3)
      expect([await things.store.count({ note: 'gone' }), await things.store.count({ note: 'kept' })]).toEqual([0, 1])
    })
    test('an empty filter is refused; all has to be said', async () => {
      const db = await openAgain(things.backing)
      const store = thingStore(db)
      const before = await store.count()
      expect(await failure(store.deleteMany({}))).toContain("say 'all'")
      expect(await failure(store.updateMany({}, { amount: 1 }))).toContain("say 'all'")
      const all = [
        { and: [] },
        { or: [{}] },
        { id: { notIn: [] } },
        { not: { or: [] } },
        { id: { ne: 'nope' } },
        { or: [{ amount: 1 }, { and: [{}] }] },
      ]
      for (const where of all)
        expect([where, await failure(store.deleteMany(where))]).toEqual([
          where,
          "this where matches every row: say 'all' when that is meant",
        ])
      expect(await store.count()).toBe(before)
      expect(await store.updateMany('all', { isOpen: false })).toBe(before)
      expect(await store.deleteMany('all')).toBe(before)
      expect(await store.count()).toBe(0)
      await db.close()
    })
  })

  describe('upsert', () => {
    test('adds what is not there and changes what is', async () => {
      const values = newThing({ note: 'x' })
      const added = await things.store.upsert(values, ['name'])
      expect(added).toMatchObject({ created: true, row: { ...values, version: 1 } })
      const changed = await things.store.upsert({ ...values, amount: -1 }, ['name'])
      expect(changed).toMatchObject({ created: false, row: { id: added.row.id, amount: -1, version: 2 } })
      expect(await things.store.get(added.row.id)).toEqual(changed.row)
    })
    test('many at the same time: one adds, the others change', async () => {
      const values = newThing()
      const done = await Promise.all(
        Array.from({ length: 10 }, (_, i) => things.store.upsert({ ...values, amount: i }, ['name']).catch(thrown => thrown.code)),
      )
      const settled = done.filter(each => typeof each === 'object')
      expect(settled.filter(each => each.created)).toHaveLength(1)
      for (const other of done.filter(each => typeof each === 'string')) expect(other).toBe('Aborted.Contended')
      const row = await things.store.find({ name: values.name })
      expect(row?.version).toBe(settled.length)
    })
    test('in a transaction that has read before, what was added since is changed', async () => {
      // SQLite has one writer: there nobody adds anything in the meantime.
      if (things.db.dialect.name === 'sqlite') return
      const values = newThing()
      const { row, created } = await things.db.tx(async tx => {
        expect(await thingStore(tx).count({ name: values.name })).toBe(0)
        const other = await openAgain(things.backing)
        await thingStore(other).create(values)
        await other.close()
        return thingStore(tx).upsert({ ...values, amount: -2 }, ['name'])
      })
      expect([created, row.version, row.amount]).toEqual([false, 2, -2])
    })
    test('another unique key stays taken, and only a unique key will do', async () => {
      const other = await things.store.create(newThing())
      expect(await failure(things.store.upsert(newThing({ code: other.code }), ['name']))).toBe('Conflict.CodeTaken')
      expect(await failure(things.store.upsert(newThing(), ['amount']))).toContain('one unique key')
      expect(await failure(things.store.upsert(newThing(), []))).toContain('one unique key')
    })
  })
}
