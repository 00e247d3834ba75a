import { expect, test } from 'bun:test'
import type { Backing } from '../backings'
import { fakeLog } from '../fakes'
import { newThing, openAgain, thingStore, useThings } from './fixture'

/** What is done after a commit. */
export function hookSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)

  test('hooks run in order, after the commit and before the caller goes on', async () => {
    const values = newThing()
    const other = await openAgain(things.backing)
    const seen: string[] = []
    await things.db.tx(async tx => {
      await tx.afterCommit(async () => void seen.push(`first sees ${await thingStore(other).count({ name: values.name })}`))
      await thingStore(tx).create(values)
      await tx.afterCommit(() => void seen.push('second'))
      expect(seen).toEqual([])
    })
    expect(seen).toEqual(['first sees 1', 'second'])
    await other.close()
  })
  test('hooks do not run when the transaction is undone', async () => {
    const seen: string[] = []
    const work = things.db.tx(async tx => {
      await tx.afterCommit(() => void seen.push('hook'))
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    await work.catch(() => {})
    expect(seen).toEqual([])
  })
  test('a hook may use the outer database, though it has one connection only, and begin a transaction', async () => {
    const db = await openAgain(things.backing, { poolSize: 1, acquireTimeoutMs: 1000 })
    const values = newThing()
    let counted: number | undefined
    await db.tx(async tx => {
      await tx.afterCommit(async () => {
        await db.tx(inner => thingStore(inner).create(values))
        counted = await thingStore(db).count({ name: values.name })
      })
    })
    expect(counted).toBe(1)
    await db.close()
  })
  test('a hook that fails, or never ends, is logged, and neither the transaction nor the next hook fails with it', async () => {
    const log = fakeLog()
    const db = await openAgain(things.backing, {}, { log })
    const values = newThing()
    let isNextRun = false
    await db.tx(async tx => {
      await thingStore(tx).create(values)
      await tx.afterCommit(() => {
        throw new Error('the cache is away')
      })
      await tx.afterCommit(() => new Promise<void>(() => {}))
      await tx.afterCommit(() => {
        isNextRun = true
      })
    })
    expect(isNextRun).toBe(true)
    expect(await things.store.count({ name: values.name })).toBe(1)
    const said = log.lines.map(({ level, message, fields }) => [level, message, String(fields['err'])])
    expect(said).toEqual([
      ['error', 'an afterCommit hook failed', 'Error: the cache is away'],
      ['error', 'an afterCommit hook failed', 'Error: it took longer than 2000 ms, and goes on by itself'],
    ])
    await db.close()
  })
  test('outside a transaction a hook runs at once, and fails as quietly', async () => {
    const log = fakeLog()
    const db = await openAgain(things.backing, {}, { log })
    let runs = 0
    await db.afterCommit(async () => void runs++)
    expect(runs).toBe(1)
    await db.afterCommit(async () => {
      throw new Error('no')
    })
    expect(log.lines.map(({ message }) => message)).toEqual(['an afterCommit hook failed'])
    const misuse = db.tx(async () => db.afterCommit(() => void runs++))
    await expect(misuse).rejects.toThrow('the outer database was used inside a transaction')
    await misuse.catch(() => {})
    expect(runs).toBe(1)
    await db.close()
  })
  test('a transaction that is over takes no more hooks', async () => {
    const leaked = await things.db.tx(async tx => tx)
    await expect(leaked.afterCommit(() => {})).rejects.toThrow('this transaction is over')
  })
}
