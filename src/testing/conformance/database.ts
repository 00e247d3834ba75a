import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/open'
import type { Backing } from '../backings'
import { newThing, openAgain, openWithThings, thingStore } from './fixture'

/** What the Database port promises, on whichever driver. */
export function databaseSuite(open: () => Promise<Backing>): void {
  let backing: Backing
  let db: OpenDatabase
  let store: ReturnType<typeof thingStore>
  beforeAll(async () => {
    backing = await open()
    db = await openWithThings(backing)
    store = thingStore(db)
  })
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })

  test('using the outer database inside a transaction is refused, and undoes it', async () => {
    const values = newThing()
    const work = db.tx(async tx => {
      await thingStore(tx).create(values)
      await store.count()
    })
    await expect(work).rejects.toThrow('the outer database was used inside a transaction')
    await work.catch(() => {})
    expect(await store.count({ name: values.name })).toBe(0)
    const nested = db.tx(async () => db.tx(async () => 1))
    await expect(nested).rejects.toThrow('the outer database was used inside a transaction')
    await nested.catch(() => {})
  })
  test('a transaction that is over takes no more calls', async () => {
    const leaked = await db.tx(async tx => tx)
    await expect(thingStore(leaked).count()).rejects.toThrow('this transaction is over')
  })
  test('a transaction that takes too long is undone, and the next one is not kept waiting', async () => {
    const values = newThing()
    const never = new Promise<void>(() => {})
    const late = db.tx(
      async tx => {
        await thingStore(tx).create(values)
        await never
      },
      { timeoutMs: 50 },
    )
    await expect(late).rejects.toMatchObject({ code: 'Timeout.TxTimeout' })
    await late.catch(() => {})
    expect(await store.count({ name: values.name })).toBe(0)
    expect(await db.tx(async tx => thingStore(tx).count({ name: values.name }))).toBe(0)
  })
  test('a transaction that throws leaves nothing behind', async () => {
    const values = newThing()
    const work = db.tx(async tx => {
      await thingStore(tx).create(values)
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    await work.catch(() => {})
    expect(await store.count({ name: values.name })).toBe(0)
  })
  test('a unique violation inside a transaction leaves the rest of it usable', async () => {
    const taken = await store.create(newThing())
    const values = newThing()
    await db.tx(async tx => {
      const inside = thingStore(tx)
      await inside.create(values)
      await expect(inside.create(newThing({ name: taken.name }))).rejects.toMatchObject({ code: 'Conflict.NameTaken' })
      await inside.create(newThing({ name: taken.name })).catch(() => {})
    })
    expect(await store.count({ name: values.name })).toBe(1)
  })
  test('a transaction commits as a whole: nobody sees half of it', async () => {
    const values = newThing()
    const other = await openAgain(backing)
    await db.tx(async tx => {
      const made = await thingStore(tx).create(values)
      await thingStore(tx).update(made.id, { amount: 77 })
      expect(await thingStore(tx).find({ name: values.name })).toMatchObject({ amount: 77, version: 2 })
      expect(await thingStore(other).count({ name: values.name })).toBe(0)
    })
    expect(await thingStore(other).find({ name: values.name })).toMatchObject({ amount: 77 })
    await other.close()
  })
  test('a read outside a transaction neither waits for it nor sees what it has not committed', async () => {
    const values = newThing()
    const inside = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const work = db.tx(async tx => {
      await thingStore(tx).create(values)
      inside.resolve()
      await go.promise
    })
    await inside.promise
    expect(await store.count({ name: values.name })).toBe(0)
    go.resolve()
    await work
    expect(await store.count({ name: values.name })).toBe(1)
  })
  test('counting up in transactions at the same time loses no step', async () => {
    const counter = await store.create(newThing({ amount: 0 }))
    const other = await openAgain(backing)
    const up = (database: OpenDatabase) =>
      database.tx(async tx => {
        // Locks the row on servers: an update of nothing reads it for update.
        const row = await thingStore(tx).update(counter.id, {})
        await thingStore(tx).update(counter.id, { amount: (row?.amount ?? 0) + 1 })
      })
    await Promise.all(Array.from({ length: 30 }, (_, i) => up(i % 2 === 0 ? db : other)))
    expect(await store.get(counter.id)).toMatchObject({ amount: 30, version: 31 })
    await other.close()
  })
  test('a closed database has let what was under way finish', async () => {
    const other = await openAgain(backing)
    const values = newThing()
    const work = thingStore(other).create(values)
    await Promise.all([work, other.close()])
    expect(await store.count({ name: values.name })).toBe(1)
  })
}
