import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Migration } from '@/core/migration'
import { migrateDown, migrateUp, migrationStatus } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrations } from '@/migrations'
import type { Backing } from '../backings'
import { openAgain } from './fixture'

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

  test('an empty database has applied none', async () => {
    expect(await applied()).toEqual([])
  })
  test('two processes that migrate at once apply each migration once', async () => {
    const other = await openAgain(backing)
    const done = await Promise.all([migrateUp(db, migrations), migrateUp(other, migrations)])
    expect(done.flat().toSorted()).toEqual(all)
    expect(await applied()).toEqual(all)
    await other.close()
  })
  test('each goes down and up again, newest first', async () => {
    for (const id of all.toReversed()) expect(await migrateDown(db, migrations)).toBe(id)
    expect(await migrateDown(db, migrations)).toBeUndefined()
    expect(await applied()).toEqual([])
    expect(await migrateUp(db, migrations)).toEqual(all)
  })
  test('a database that is newer than the executable is refused with the remedy', async () => {
    await expect(migrationStatus(db, [])).rejects.toThrow(`the database is newer than this executable: it has ${all.join(', ')}`)
  })
  test('a migration that fails is not marked as applied', async () => {
    const bad: Migration = {
      id: '9999_bad',
      up: () => ['create table "half" ("id" integer)', 'not sql'],
      down: () => ['drop table "half"'],
    }
    const [kept, remains] = db.dialect.name === 'sqlite' ? [0, 'nothing of it was kept'] : [1, 'the 1 before it were kept']
    await expect(migrateUp(db, [...migrations, bad])).rejects.toThrow(`migration 9999_bad failed at statement 2 of 2`)
    expect(await applied()).toEqual(all)
    const half = await db.all('select 1 from "half"').then(
      () => 1,
      () => 0,
    )
    expect(half).toBe(kept)
    if (half) await db.run('drop table "half"')
    await expect(migrateUp(db, [...migrations, bad])).rejects.toThrow(remains)
  })
}
