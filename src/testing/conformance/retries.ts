import { describe, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { createMetrics } from '@/infra/metrics'
import type { Backing, BackingName } from '../backings'
import { metricValue } from '../fakes'
import { newThing, openAgain, thingStore, useThings } from './fixture'

const transfersTimeoutMs = 60_000

/** What happens to transactions that get into each other's way. */
export function retrySuite(open: () => Promise<Backing>, name: BackingName): void {
  const things = useThings(open)
  const isServer = name !== 'sqlite'
  const amountOf = async (id: string) => (await things.store.get(id))?.amount
  const add = (db: Database, id: string, by: number) => db.run('update "thing" set "amount" = "amount" + ? where "id" = ?', [by, id])

  /** Holds the lock on a row, on SQLite that on the file, until it is told to let go. */
  async function hold(db: Database, id: string) {
    const held = Promise.withResolvers<void>()
    const letGo = Promise.withResolvers<void>()
    const over = db.tx(async tx => {
      await add(tx, id, 0)
      held.resolve()
      await letGo.promise
    })
    await held.promise
    return async () => {
      letGo.resolve()
      await over
    }
  }

  test(
    '200 transfers between 10 accounts at once lose and make no money, and nobody hears of a deadlock',
    async () => {
      const metrics = createMetrics({ version: 'test', roles: [] })
      const accounts = await Promise.all(Array.from({ length: 10 }, () => things.store.create(newThing({ amount: 1000 }))))
      const ids = accounts.map(({ id }) => id)
      const processes = [await openAgain(things.backing, {}, { metrics }), await openAgain(things.backing, {}, { metrics })]
      const any = () => ids[Math.floor(Math.random() * ids.length)] as string
      const transfer = (db: Database) =>
        db.tx(async tx => {
          const [from, to] = [any(), any()]
          const amount = 1 + Math.floor(Math.random() * 50)
          const row = await tx.first(`select "amount" from "thing" where "id" = ?${tx.dialect.forUpdate}`, [from])
          await tx.run('update "thing" set "amount" = ? where "id" = ?', [Number(row?.['amount']) - amount, from])
          await add(tx, to, amount)
        })
      const ended = await Promise.allSettled(Array.from({ length: 200 }, (_, i) => transfer(processes[i % 2] as Database)))
      expect(ended.filter(({ status }) => status === 'rejected')).toEqual([])
      const rows = await things.db.all(`select "amount" from "thing" where "id" in (${ids.map(() => '?').join(', ')})`, ids)
      expect(rows.reduce((sum, row) => sum + Number(row['amount']), 0)).toBe(10_000)
      if (isServer) expect(await metricValue(metrics, 'bingo_database_transaction_retries_total')).toBeGreaterThan(0)
      for (const db of processes) await db.close()
      expect(await metricValue(metrics, 'bingo_database_connections')).toBe(0)
    },
    transfersTimeoutMs,
  )

  test('who waits for a lock in vain is told to come again, and nothing of it is kept', async () => {
    const other = await openAgain(things.backing, { queryTimeoutMs: isServer ? 3000 : 200 })
    const row = await things.store.create(newThing({ amount: 0 }))
    const values = newThing()
    const letGo = await hold(things.db, row.id)
    let runs = 0
    const work = other.tx(
      async tx => {
        runs++
        await thingStore(tx).create(values)
        await add(tx, row.id, 1)
      },
      { retries: 0 },
    )
    await expect(work).rejects.toMatchObject({ code: 'Unavailable.Busy', retryAfterSeconds: 1 })
    await work.catch(() => {})
    // SQLite's lock is taken before the work begins.
    expect(runs).toBe(isServer ? 1 : 0)
    await letGo()
    expect(await things.store.count({ name: values.name })).toBe(0)
    await other.tx(tx => add(tx, row.id, 1))
    expect(await amountOf(row.id)).toBe(1)
    await other.close()
  })

  if (isServer) {
    test('a statement that waits for a lock again and again is answered in the time that one may take', async () => {
      const other = await openAgain(things.backing, { acquireTimeoutMs: 300, queryTimeoutMs: 1200 })
      const row = await things.store.create(newThing({ amount: 0 }))
      const letGo = await hold(things.db, row.id)
      const startedMs = performance.now()
      await expect(add(other, row.id, 1)).rejects.toMatchObject({ code: 'Unavailable.Busy' })
      expect(performance.now() - startedMs).toBeLessThan(300 + 1200 + 300)
      await letGo()
      await add(other, row.id, 1)
      expect(await amountOf(row.id)).toBe(1)
      await other.close()
    })
  }

  if (isServer) {
    describe('a deadlock', () => {
      /** Two transactions that lock two rows in opposite order, so that one of them must lose. */
      async function collide(swallow: boolean, inside: (tx: Database, work: (tx: Database) => Promise<unknown>) => Promise<unknown>) {
        const [a, b] = [await things.store.create(newThing({ amount: 0 })), await things.store.create(newThing({ amount: 0 }))]
        const values = [newThing(), newThing()] as const
        const locked = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
        const hooked: number[] = []
        let runs = 0
        const collider = (own: 0 | 1) =>
          things.db.tx(async tx => {
            runs++
            await tx.afterCommit(() => void hooked.push(own))
            await thingStore(tx).create(values[own])
            await add(tx, own === 0 ? a.id : b.id, 1)
            locked[own].resolve()
            await locked[1 - own]?.promise
            const lose = inside(tx, inner => add(inner, own === 0 ? b.id : a.id, 1))
            await (swallow ? lose.catch(() => {}) : lose)
            // After a deadlock the server would commit this alone.
            await (swallow ? add(tx, a.id, 100).catch(() => {}) : add(tx, a.id, 100))
          })
        await Promise.all([collider(0), collider(1)])
        expect(runs).toBe(3)
        expect(hooked.toSorted()).toEqual([0, 1])
        expect([await amountOf(a.id), await amountOf(b.id)]).toEqual([202, 2])
        for (const { name } of values) expect(await things.store.count({ name })).toBe(1)
      }

      test('runs the loser again from its start', () => collide(false, (tx, work) => work(tx)))
      test('that the work swallows still keeps what is left of it from being committed', () => collide(true, (tx, work) => work(tx)))
      test('in a savepoint runs the whole transaction again', () => collide(false, (tx, work) => tx.tx(work)))
      test('in a savepoint, swallowed, does so too', () => collide(true, (tx, work) => tx.tx(work)))
    })

    test('a lock that was not given undoes the whole transaction, not the statement alone, and it runs again', async () => {
      const metrics = createMetrics({ version: 'test', roles: [] })
      const other = await openAgain(things.backing, { queryTimeoutMs: 3000 }, { metrics })
      const row = await things.store.create(newThing({ amount: 0 }))
      const values = newThing()
      const letGo = await hold(things.db, row.id)
      const causes: unknown[] = []
      await other.tx(async tx => {
        if (causes.length > 0) await letGo()
        await thingStore(tx).create(values)
        await add(tx, row.id, 1).catch(thrown => causes.push(thrown.cause.code))
      })
      expect(causes).toEqual(['ER_LOCK_WAIT_TIMEOUT'])
      expect(await things.store.count({ name: values.name })).toBe(1)
      expect(await amountOf(row.id)).toBe(1)
      expect(await metricValue(metrics, 'bingo_database_query_timeouts_total')).toBe(0)
      expect(await metricValue(metrics, 'bingo_database_transaction_retries_total')).toBe(1)
      await other.close()
    })

    test('isolation is of the transaction that asks for it, and of no other', async () => {
      const other = await openAgain(things.backing, { poolSize: 1 })
      const row = await things.store.create(newThing({ amount: 1 }))
      const twice = (tx: Database) => async () => {
        const read = async () => Number((await tx.first('select "amount" from "thing" where "id" = ?', [row.id]))?.['amount'])
        const before = await read()
        await things.db.run('update "thing" set "amount" = "amount" + 1 where "id" = ?', [row.id])
        return (await read()) - before
      }
      expect(await other.tx(tx => twice(tx)())).toBe(0)
      expect(await other.tx(tx => twice(tx)(), { isolation: 'read committed' })).toBe(1)
      expect(await other.tx(tx => twice(tx)())).toBe(0)
      await other.close()
    })
  } else {
    test('a transaction whose snapshot another process has made old runs again', async () => {
      const other = await openAgain(things.backing)
      const row = await things.store.create(newThing({ amount: 0 }))
      let runs = 0
      await things.db.tx(async tx => {
        if (++runs === 1) {
          // As a transaction would be that did not take the lock at its beginning.
          await tx.run('rollback')
          await tx.run('begin')
          await tx.first('select "amount" from "thing" where "id" = ?', [row.id])
          await add(other, row.id, 10)
        }
        await add(tx, row.id, 1)
      })
      expect([runs, await amountOf(row.id)]).toEqual([2, 11])
      await other.close()
    })
  }

  test('transactions that lose for ever end within their time', async () => {
    const other = await openAgain(things.backing, { queryTimeoutMs: 3000 })
    const row = await things.store.create(newThing({ amount: 0 }))
    const letGo = await hold(things.db, row.id)
    const started = performance.now()
    const work = other.tx(tx => add(tx, row.id, 1), { timeoutMs: 1500, retries: 100 })
    await expect(work).rejects.toMatchObject({ code: expect.stringMatching(/^(Timeout\.TxTimeout|Unavailable\.Busy)$/) })
    await work.catch(() => {})
    expect(performance.now() - started).toBeLessThan(2500)
    await letGo()
    await other.close()
  })
}
