import { expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { createMetrics } from '@/infra/metrics'
import type { Backing } from '../backings'
import { metricValue } from '../fakes'
import { newThing, openAgain, thingStore, useThings } from './fixture'

/** What a transaction inside a transaction promises. */
export function savepointSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)
  const threeThings = () => [newThing(), newThing(), newThing()] as const
  /** Which of them are there, as 1 and 0. */
  const kept = (values: readonly { name: string }[]) => Promise.all(values.map(({ name }) => things.store.count({ name })))
  const create = (db: Database, values: ReturnType<typeof newThing>) => thingStore(db).create(values)
  const fail = () => {
    throw new Error('no')
  }

  test('that throws is undone alone, with its hooks, and the rest is committed', async () => {
    const metrics = createMetrics({ version: 'test', roles: [] })
    const db = await openAgain(things.backing, {}, { metrics })
    const values = threeThings()
    const hooks: string[] = []
    await db.tx(async tx => {
      await create(tx, values[0])
      await tx.afterCommit(() => void hooks.push('outer'))
      const inner = tx.tx(async inside => {
        await create(inside, values[1])
        await inside.afterCommit(() => void hooks.push('inner'))
        fail()
      })
      await expect(inner).rejects.toThrow('no')
      await inner.catch(() => {})
      await create(tx, values[2])
    })
    expect(await kept(values)).toEqual([1, 0, 1])
    expect(hooks).toEqual(['outer'])
    expect(await metricValue(metrics, 'bingo_database_savepoints_undone_total')).toBe(1)
    await db.close()
  })
  test('that resolves is committed with the rest, and gives its value', async () => {
    const values = threeThings()
    const hooks: string[] = []
    await things.db.tx(async tx => {
      await tx.afterCommit(() => void hooks.push('before'))
      const made = await tx.tx(async inside => {
        expect(inside.inTransaction).toBe(true)
        await inside.afterCommit(() => void hooks.push('inside'))
        await inside.tx(innermost => create(innermost, values[1]))
        return create(inside, values[0])
      })
      await tx.afterCommit(() => void hooks.push('after'))
      expect(made.name).toBe(values[0].name)
      expect(hooks).toEqual([])
    })
    expect(await kept(values)).toEqual([1, 1, 0])
    expect(hooks).toEqual(['before', 'inside', 'after'])
  })
  test('is undone with the transaction around it, though it resolved', async () => {
    const values = threeThings()
    const hooks: string[] = []
    const work = things.db.tx(async tx => {
      await tx.tx(async inside => {
        await create(inside, values[0])
        await inside.afterCommit(() => void hooks.push('inside'))
      })
      fail()
    })
    await expect(work).rejects.toThrow('no')
    await work.catch(() => {})
    expect([await kept(values), hooks]).toEqual([[0, 0, 0], []])
  })
  test('in a savepoint is undone alone too', async () => {
    const values = threeThings()
    await things.db.tx(tx =>
      tx.tx(async middle => {
        await create(middle, values[0])
        await middle
          .tx(async inner => {
            await create(inner, values[1])
            fail()
          })
          .catch(() => {})
        await create(middle, values[2])
      }),
    )
    expect(await kept(values)).toEqual([1, 0, 1])
  })
  test('takes turns with its siblings, so that none is undone with another', async () => {
    const values = threeThings()
    let inside = 0
    const one = (tx: Database, i: 0 | 1 | 2) =>
      tx.tx(async savepoint => {
        expect(++inside).toBe(1)
        await create(savepoint, values[i])
        await Promise.resolve()
        inside--
        if (i === 1) fail()
      })
    await things.db.tx(async tx => {
      const ended = await Promise.allSettled([one(tx, 0), one(tx, 1), one(tx, 2)])
      expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    })
    expect(await kept(values)).toEqual([1, 0, 1])
  })
  test('refuses the tx around it, which would escape it', async () => {
    const values = threeThings()
    const work = things.db.tx(async tx => {
      await create(tx, values[0])
      for (const misuse of [
        () => create(tx, values[1]),
        () => tx.tx(async () => {}),
        () => tx.afterCommit(() => {}),
        () => tx.first('select 1'),
      ]) {
        const inner = tx.tx(() => misuse() as Promise<unknown>)
        await expect(inner).rejects.toThrow('the tx around a savepoint was used inside it')
        await inner.catch(() => {})
      }
      const outer = tx.tx(() => things.store.count())
      await expect(outer).rejects.toThrow('the outer database was used inside a transaction')
      await outer.catch(() => {})
    })
    await work
    expect(await kept(values)).toEqual([1, 0, 0])
  })
  test('keeps what is done beside it waiting, which would be undone with it', async () => {
    const values = threeThings()
    await things.db.tx(async tx => {
      const begun = Promise.withResolvers<void>()
      const go = Promise.withResolvers<void>()
      const order: string[] = []
      const savepoint = tx.tx(async inside => {
        await create(inside, values[0])
        begun.resolve()
        await go.promise
        order.push('savepoint')
        fail()
      })
      await begun.promise
      const beside = create(tx, values[1]).then(() => order.push('beside'))
      go.resolve()
      await expect(savepoint).rejects.toThrow('no')
      await savepoint.catch(() => {})
      await beside
      expect(order).toEqual(['savepoint', 'beside'])
    })
    expect(await kept(values)).toEqual([0, 1, 0])
  })
  test('that takes too long is undone, and the rest goes on', async () => {
    const values = threeThings()
    await things.db.tx(async tx => {
      let leaked: Database | undefined
      const late = tx.tx(
        async inside => {
          leaked = inside
          await create(inside, values[0])
          await inside.tx(() => new Promise<void>(() => {}))
        },
        { timeoutMs: 50 },
      )
      await expect(late).rejects.toMatchObject({ code: 'Timeout.TxTimeout' })
      await late.catch(() => {})
      await create(tx, values[1])
      await expect(create(leaked as Database, values[2])).rejects.toThrow('this transaction is over')
    })
    expect(await kept(values)).toEqual([0, 1, 0])
  })
  test('that was not awaited is undone, and does not keep the transaction waiting', async () => {
    const values = threeThings()
    const begun = Promise.withResolvers<void>()
    let forgotten: Promise<unknown> | undefined
    await things.db.tx(async tx => {
      await create(tx, values[0])
      forgotten = tx.tx(async inside => {
        await create(inside, values[1])
        begun.resolve()
        await new Promise<void>(() => {})
      })
      forgotten.catch(() => {})
      await begun.promise
    })
    await expect(forgotten).rejects.toThrow('this transaction is over')
    expect(await kept(values)).toEqual([1, 0, 0])
  })
  test('has neither isolation nor retries of its own, and says why', async () => {
    const attempt = (options: object) => things.db.tx(tx => tx.tx(async () => {}, options))
    await expect(attempt({ isolation: 'serializable' })).rejects.toThrow('isolation is of a whole transaction')
    await expect(attempt({ retries: 1 })).rejects.toThrow('since a deadlock undoes all')
  })
  test('that is over takes no more calls', async () => {
    await things.db.tx(async tx => {
      const leaked = await tx.tx(async inside => inside)
      await expect(leaked.first('select 1')).rejects.toThrow('this transaction is over')
    })
  })
}
