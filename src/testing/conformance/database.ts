import { expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import type { Backing } from '../backings'
import { newThing, openAgain, thingStore, useThings } from './fixture'

/** What the Database port promises, on whichever driver. */
export function databaseSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)

  test('using the outer database inside a transaction is refused, and undoes it', async () => {
    const values = newThing()
    const work = things.db.tx(async tx => {
      await thingStore(tx).create(values)
      await things.store.count()
    })
    await expect(work).rejects.toThrow('the outer database was used inside a transaction')
    await work.catch(() => {})
    expect(await things.store.count({ name: values.name })).toBe(0)
    const nested = things.db.tx(async () => things.db.tx(async () => 1))
    await expect(nested).rejects.toThrow('the outer database was used inside a transaction')
    await nested.catch(() => {})
  })
  test('a transaction that is over takes no more calls', async () => {
    const leaked = await things.db.tx(async tx => tx)
    await expect(thingStore(leaked).count()).rejects.toThrow('this transaction is over')
  })
  test('a transaction that takes too long is undone, and the next one is not kept waiting', async () => {
    const values = newThing()
    const never = new Promise<void>(() => {})
    const late = things.db.tx(
      async tx => {
        await thingStore(tx).create(values)
        await never
      },
      { timeoutMs: 50 },
    )
    await expect(late).rejects.toMatchObject({ code: 'Timeout.TxTimeout' })
    await late.catch(() => {})
    expect(await things.store.count({ name: values.name })).toBe(0)
    expect(await things.db.tx(async tx => thingStore(tx).count({ name: values.name }))).toBe(0)
  })
  test('a transaction that takes too long in the middle of a statement gives its connection back', async () => {
    const other = await openAgain(things.backing)
    const row = await things.store.create(newThing())
    const holding = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const holder = things.db.tx(async tx => {
      await thingStore(tx).update(row.id, { amount: -1 })
      held.resolve()
      await holding.promise
    })
    await held.promise
    // More of them than there are connections, each waiting for the row when its time is over.
    const late = Array.from({ length: 12 }, () => other.tx(tx => thingStore(tx).update(row.id, { amount: -2 }), { timeoutMs: 30 }))
    const ended = Promise.allSettled(late)
    if (things.db.dialect.name !== 'sqlite') {
      for (const { status, reason } of (await ended) as PromiseRejectedResult[])
        expect([status, reason.code]).toEqual(['rejected', 'Timeout.TxTimeout'])
    }
    holding.resolve()
    await holder
    await ended
    expect(await thingStore(other).count({ id: row.id })).toBe(1)
    await other.tx(tx => thingStore(tx).update(row.id, { amount: -3 }))
    expect(await things.store.get(row.id)).toMatchObject({ amount: -3 })
    await other.close()
  })
  test('a transaction that throws leaves nothing behind', async () => {
    const values = newThing()
    const work = things.db.tx(async tx => {
      await thingStore(tx).create(values)
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    await work.catch(() => {})
    expect(await things.store.count({ name: values.name })).toBe(0)
  })
  test('a unique violation inside a transaction leaves the rest of it usable', async () => {
    const taken = await things.store.create(newThing())
    const values = newThing()
    await things.db.tx(async tx => {
      const inside = thingStore(tx)
      await inside.create(values)
      await expect(inside.create(newThing({ name: taken.name }))).rejects.toMatchObject({ code: 'Conflict.NameTaken' })
      await inside.create(newThing({ name: taken.name })).catch(() => {})
    })
    expect(await things.store.count({ name: values.name })).toBe(1)
  })
  test('a transaction commits as a whole: nobody sees half of it', async () => {
    const values = newThing()
    const other = await openAgain(things.backing)
    await things.db.tx(async tx => {
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
    const work = things.db.tx(async tx => {
      await thingStore(tx).create(values)
      inside.resolve()
      await go.promise
    })
    await inside.promise
    expect(await things.store.count({ name: values.name })).toBe(0)
    go.resolve()
    await work
    expect(await things.store.count({ name: values.name })).toBe(1)
  })
  test('counting up in transactions at the same time loses no step', async () => {
    const counter = await things.store.create(newThing({ amount: 0 }))
    const other = await openAgain(things.backing)
    const up = (database: OpenDatabase) =>
      database.tx(async tx => {
        // Locks the row on servers: an update of nothing reads it for update.
        const row = await thingStore(tx).update(counter.id, {})
        await thingStore(tx).update(counter.id, { amount: (row?.amount ?? 0) + 1 })
      })
    await Promise.all(Array.from({ length: 30 }, (_, i) => up(i % 2 === 0 ? things.db : other)))
    expect(await things.store.get(counter.id)).toMatchObject({ amount: 30, version: 31 })
    await other.close()
  })
  test('a closed database has let what was under way finish', async () => {
    const other = await openAgain(things.backing)
    const values = newThing()
    const work = thingStore(other).create(values)
    await Promise.all([work, other.close()])
    expect(await things.store.count({ name: values.name })).toBe(1)
  })
}
