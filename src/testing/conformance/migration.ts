import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { columnWords, type Migration } from '@/core/migration'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateDown, migrateUp, migrationStatus, needsMigrating } from '@/infra/database/migrate'
import { drift } from '@/infra/database/migrate/drift'
import type { MigrationProgress } from '@/infra/database/migrate/progress'
import { migrations } from '@/migrations'
import { users } from '@/modules/user/schema'
import type { Backing } from '../backings'
import { openAgain, withTx } from './fixture'

/** What running migrations promises, on whichever database. */
export function migrationSuite(open: () => Promise<Backing>): void {
  let backing: Backing
  let db: OpenDatabase
  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
  })
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })
  const all = migrations.map(({ id }) => id)
  const applied = async () => (await migrationStatus(db, migrations)).filter(({ appliedAt }) => appliedAt).map(({ id }) => id)

  test('an empty database has applied none, and asking makes no table', async () => {
    expect(await applied()).toEqual([])
    expect(await needsMigrating(db, migrations)).toBe(true)
    await expect(db.first('select 1 from "migration"')).rejects.toThrow()
  })
  test('two processes that migrate at once apply each migration once', async () => {
    const other = await openAgain(backing)
    const done = await Promise.all([migrateUp(db, migrations), migrateUp(other, migrations)])
    expect(done.flat().toSorted()).toEqual(all)
    expect(await applied()).toEqual(all)
    expect(await needsMigrating(db, migrations)).toBe(false)
    await other.close()
  })
  test('the migrations of the product make the tables that its modules declare', async () => {
    expect(await drift(db, [users])).toEqual([])
  })
  test('each goes down and up again, newest first', async () => {
    for (const id of all.toReversed()) expect(await migrateDown(db, migrations)).toBe(id)
    expect(await migrateDown(db, migrations)).toBeUndefined()
    expect(await applied()).toEqual([])
    expect(await migrateUp(db, migrations)).toEqual(all)
  }, 60_000)
  test('what each leaves when it goes down is what was there before it went up', async () => {
    await migrateUp(db, migrations)
    for (const id of all.toReversed()) expect(await migrateDown(db, migrations)).toBe(id)
    for (const [i, migration] of migrations.entries()) {
      const before = await tablesOf(db)
      await migrateUp(db, migrations.slice(0, i + 1))
      expect(await migrateDown(db, migrations.slice(0, i + 1))).toBe(migration.id)
      expect(await tablesOf(db)).toEqual(before)
      await migrateUp(db, migrations.slice(0, i + 1))
    }
  }, 60_000)
  test('a database that is newer than the executable is refused with the remedy', async () => {
    const newer = `the database is newer than this executable: it has ${all.join(', ')}`
    await expect(migrationStatus(db, [])).rejects.toThrow(newer)
    await expect(migrateUp(db, [])).rejects.toThrow(newer)
    await expect(migrateDown(db, [])).rejects.toThrow(newer)
  })

  describe('of one migration', () => {
    beforeEach(async () => {
      for (const table of ['first', 'second', 'third', 'migration']) await db.run(`drop table if exists "${table}"`)
    })
    const table = (name: string): Migration => ({
      id: `${{ first: '0001', second: '0002', third: '0003' }[name]}_${name}`,
      up: ({ integer }) => [`create table "${name}" ("id" ${integer})`],
      down: () => [`drop table "${name}"`],
    })
    const [first, second, third] = [table('first'), table('second'), table('third')]
    const has = (name: string) =>
      db.all(`select 1 from "${name}"`).then(
        () => true,
        () => false,
      )
    const states = async (list: readonly Migration[]) => (await migrationStatus(db, list)).map(({ state }) => state)

    test('that says why it cannot be undone is not undone', async () => {
      const final: Migration = { ...first, down: { irreversible: 'the names that it merged are lost' } }
      await migrateUp(db, [final])
      await expect(migrateDown(db, [final])).rejects.toThrow('migration 0001_first cannot be undone: the names that it merged are lost')
      expect([await has('first'), await states([final])]).toEqual([true, ['applied']])
    })
    test('whose text has changed since it was applied is refused everywhere, and its layout is not its text', async () => {
      await migrateUp(db, [first])
      const changed: Migration = { ...first, up: ({ integer }) => [`create table "first" ("id" ${integer} not null)`] }
      const refusal = '0001_first has been changed since it was applied; restore the text'
      await expect(migrationStatus(db, [changed])).rejects.toThrow(refusal)
      await expect(needsMigrating(db, [changed])).rejects.toThrow(refusal)
      await expect(migrateUp(db, [changed, second])).rejects.toThrow(refusal)
      await expect(migrateDown(db, [changed])).rejects.toThrow(refusal)
      expect([await has('first'), await has('second')]).toEqual([true, false])
      const laidOut: Migration = { ...first, up: words => first.up(words).map(sql => sql.replaceAll(' ', '\n   ')) }
      expect(await states([laidOut])).toEqual(['applied'])
      const longer: Migration = { ...first, up: words => [...first.up(words), 'drop table "first"'] }
      await expect(migrationStatus(db, [longer])).rejects.toThrow(refusal)
    })
    test('that is older than one which is applied is refused, until the newer one is undone', async () => {
      await migrateUp(db, [first, third])
      expect(await states([first, second, third])).toEqual(['applied', 'out of order', 'applied'])
      await expect(migrateUp(db, [first, second, third])).rejects.toThrow(
        'migration 0002_second is older than 0003_third, which is applied already; give it the next number',
      )
      expect(await has('second')).toBe(false)
      expect(await migrateDown(db, [first, second, third])).toBe('0003_third')
      expect(await migrateUp(db, [first, second, third])).toEqual(['0002_second', '0003_third'])
    })
    test('with the number of another is refused', async () => {
      await expect(migrateUp(db, [first, { ...second, id: '0001_again' }])).rejects.toThrow('the number of migration 0001_again')
    })
    test('that fails is not applied; mended, it goes on with the statement that failed', async () => {
      const up = (last: string): Migration => ({ ...first, up: words => [...first.up(words), last] })
      await expect(migrateUp(db, [up('not sql')])).rejects.toThrow(
        db.dialect.name === 'sqlite'
          ? /^migration 0001_first failed at statement 2 of 2: .*; nothing of it was kept; try again/
          : /^migration 0001_first failed at statement 2 of 2: .*; the 1 before it was kept; mend that, and 'bingo migrate up' goes on/,
      )
      expect(await has('first')).toBe(db.dialect.name !== 'sqlite')
      expect(await states([up('not sql')])).toEqual([db.dialect.name === 'sqlite' ? 'pending' : 'half applied'])
      expect(await migrateUp(db, [up('create table "second" ("id" integer)')])).toEqual(['0001_first'])
      expect([await has('first'), await has('second')]).toEqual([true, true])
    })
    test('that fails at its first statement leaves nothing behind', async () => {
      await db.run('create table "first" ("id" integer)')
      for (let attempt = 1; attempt <= 2; attempt++) {
        // Also the second time: that the table is there already is no sign that this migration made it.
        await expect(migrateUp(db, [first])).rejects.toThrow('failed at statement 1 of 1')
        expect(await states([first])).toEqual(['pending'])
      }
    })
    test('says which statement it begins, and from time to time that it is still running', async () => {
      const events: MigrationProgress[] = []
      const ticks: (() => void)[] = []
      const every = (ms: number, tick: () => void) => {
        expect(ms).toBe(5000)
        ticks.push(tick)
        return () => {}
      }
      const said = { progress: (event: MigrationProgress) => void events.push(event), every }
      await migrateUp(db, [first, { ...second, up: words => [...second.up(words), 'drop table "second"'] }], said)
      const base = { isWaiting: false, direction: 'up', seconds: 0 } as const
      expect(events).toEqual([
        { ...base, id: '0001_first', statement: 1, of: 1 },
        { ...base, id: '0002_second', statement: 1, of: 2 },
        { ...base, id: '0002_second', statement: 2, of: 2 },
      ])
      const [, , , last] = ticks
      last?.()
      last?.()
      expect(events.slice(3)).toEqual([5, 10].map(seconds => ({ ...base, id: '0002_second', statement: 2, of: 2, seconds })))
    })
    test('waits for another process that migrates, and says so', async () => {
      const inside = Promise.withResolvers<void>()
      const go = Promise.withResolvers<void>()
      const held = migrateUp(pausing(db, inside.resolve, go.promise), [first])
      await inside.promise
      const other = await openAgain(backing)
      const events: MigrationProgress[] = []
      const every = (_: number, tick: () => void) => {
        tick()
        go.resolve()
        return () => {}
      }
      const waited = migrateUp(other, [first], { progress: event => void events.push(event), every })
      expect([await held, await waited]).toEqual([['0001_first'], []])
      expect(events).toEqual([{ isWaiting: true, seconds: 5 }])
      await other.close()
    })
    test('gives up when another process migrates for too long', async () => {
      const inside = Promise.withResolvers<void>()
      const go = Promise.withResolvers<void>()
      const held = migrateUp(pausing(db, inside.resolve, go.promise), [first])
      await inside.promise
      const other = await openAgain(backing, { queryTimeoutMs: db.dialect.name === 'sqlite' ? 50 : 10_000 })
      const given = migrateUp(other, [first], { lockWaitSeconds: 0 })
      await expect(given).rejects.toThrow('another process has been migrating for too long; wait for it, or end it, and try again')
      go.resolve()
      expect(await held).toEqual(['0001_first'])
      await other.close()
    })
    test('that an older version applied gets its checksum, and keeps when that was', async () => {
      const { text, timestamp, tableOptions } = columnWords[db.dialect.name]
      await db.run(`create table "migration" ("id" ${text(64)} not null primary key, "appliedAt" ${timestamp} not null) ${tableOptions}`)
      const at = db.dialect.name === 'sqlite' ? Date.parse('2026-01-31T09:05:00.123Z') : '2026-01-31 09:05:00.123'
      await db.run('insert into "migration" ("id", "appliedAt") values (?, ?)', ['0001_first', at])
      await db.run('create table "first" ("id" integer)')
      const old = [{ id: '0001_first', state: 'applied', appliedAt: '2026-01-31T09:05:00.123Z' }] as const
      expect(await migrationStatus(db, [first])).toEqual([...old])
      expect(await needsMigrating(db, [first])).toBe(true)
      expect(await migrateUp(db, [first, second])).toEqual(['0002_second'])
      expect((await migrationStatus(db, [first, second]))[0]).toEqual(old[0])
      expect(await needsMigrating(db, [first, second])).toBe(false)
      const changed: Migration = { ...first, up: () => ['create table "first" ("id" text)'] }
      await expect(migrationStatus(db, [changed, second])).rejects.toThrow('0001_first has been changed')
      // The older version can still add its rows.
      await db.run('insert into "migration" ("id", "appliedAt") values (?, ?)', ['0003_third', at])
      expect(await states([first, second, third])).toEqual(['applied', 'applied', 'applied'])
    })
  })
}

/** The database, whose first change of tables inside a transaction waits. */
const pausing = (db: Database, begun: () => void, go: Promise<void>): Database =>
  withTx(db, tx => ({
    async run(sql, params) {
      if (sql.startsWith('create table "first"')) {
        begun()
        await go
      }
      return tx.run(sql, params)
    },
  }))

/** Every table and index as the database itself writes it down, but for what migrations keep. */
async function tablesOf(db: Database): Promise<string[]> {
  if (db.dialect.name === 'sqlite') {
    const rows = await db.all(`select "sql" from "sqlite_master" where "tbl_name" not like 'migration%' and "sql" is not null`)
    return rows.map(row => String(row['sql'])).toSorted()
  }
  const names = await db.all('select table_name as name from information_schema.tables where table_schema = database()')
  const own = names.map(row => String(row['name'])).filter(name => !name.startsWith('migration'))
  const made = own.map(async name => Object.values((await db.first(`show create table "${name}"`)) ?? {}).join(' '))
  return (await Promise.all(made)).toSorted()
}
