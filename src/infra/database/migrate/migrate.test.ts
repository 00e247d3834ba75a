import { describe, expect, test } from 'bun:test'
import { columnWords, type Migration } from '@/core/migration'
import { migrations } from '@/migrations'
import { onEachBacking, openBacking, type Backing, testOn } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { driftSuite } from '@/testing/conformance/drift'
import { migrationSuite } from '@/testing/conformance/migration'
import { steps } from '@/testing/migrate-and-die'
import { migrateDown, migrateUp, migrationStatus } from '.'
import { checksumOf } from './ledger'

onEachBacking('migrations', open => describe('of the product', () => migrationSuite(open)))
onEachBacking('differences between tables and their declaration', driftSuite)

/** Uses every word that a migration may use. */
const everyWord: Migration = {
  id: '0001_every',
  up: words => [
    [words.id, words.text(9), words.longText, words.integer, words.bigint, words.decimal(9, 2), words.float, words.boolean].join(),
    [words.timestamp, words.date, words.json, words.binary(9), words.binary(99_999), words.epoch, words.softDeleteColumns].join(),
    ...words.addSoftDelete('t'),
    ...words.dropSoftDelete('t'),
    words.uniqueIndex('t', ['a', 'b']),
    words.uniqueIndex('t', ['a'], 'live'),
    words.index('t', ['a']),
    words.index('t', ['a', 'b', 'id']),
    words.dropIndex('t', ['a']),
    ...words.changeColumn('t', 'a', { from: words.text(9), to: `${words.text(10)} not null` }),
    words.tableOptions,
    ...words.onlyOn('sqlite', ['on SQLite']),
    ...words.onlyOn('server', ['on servers']),
  ],
  down: () => [],
}

test('the words of migrations say what they have always said', () => {
  const checksums = [...migrations.slice(0, 1), everyWord].map(({ id, up }) => [
    id,
    ...(['sqlite', 'mysql', 'mariadb'] as const).map(name => checksumOf(up(columnWords[name])).slice(0, 16)),
  ])
  // A database that has applied them refuses a bingo in which one of these is another: a new word adds to the last line only.
  expect(checksums).toEqual([
    ['0001_user', '747faff9d3e75c4d', 'a5bf32c224360d8e', '02e5a674267ed0f1'],
    ['0001_every', '20afaeccb7f9ec4c', 'e8baa1311dc93ab2', '757623d10c96fde3'],
  ])
})

test('what only SQLite runs has a checksum, too: a migration of it whose text has changed is refused', async () => {
  const backing = (await openBacking('sqlite')) as Backing
  const db = await openAgain(backing)
  const of = (column: string): Migration => ({
    id: '0001_only',
    up: ({ onlyOn }) => onlyOn('sqlite', [`create table "only" ("${column}" text) strict`]),
    down: ({ onlyOn }) => onlyOn('sqlite', ['drop table "only"']),
  })
  expect(await migrateUp(db, [of('a')])).toEqual(['0001_only'])
  expect(await migrateUp(db, [of('a')])).toEqual([])
  await expect(migrateUp(db, [of('b')])).rejects.toThrow('0001_only has been changed since it was applied')
  await db.close()
  await backing.dispose()
})

test('an index is named after its table and columns, without the id that it ends in', () => {
  const { index, uniqueIndex, dropIndex } = columnWords.sqlite
  expect(index('user', ['createdAt'])).toBe('create index "user_createdAt" on "user" ("createdAt", "id")')
  expect(index('user', ['status', 'createdAt', 'id'])).toBe('create index "user_status_createdAt" on "user" ("status", "createdAt", "id")')
  expect(uniqueIndex('user', ['email'])).toBe('create unique index "user_email" on "user" ("email")')
  expect(dropIndex('user', ['status', 'createdAt', 'id'])).toBe('drop index "user_status_createdAt"')
  expect(() => index('user', ['c'.repeat(60)])).toThrow('longer than 64')
})

/** Runs `migrate-and-die.ts` until it is killed. */
async function killed(url: string, direction: 'up' | 'down', at: number, moment: 'before' | 'after'): Promise<void> {
  const child = Bun.spawn([process.execPath, 'src/testing/migrate-and-die.ts', url, direction, String(at), moment], { stderr: 'pipe' })
  const [complaint, code] = await Promise.all([child.stderr.text(), child.exited])
  expect([complaint, code, child.signalCode]).toEqual(['', 137, 'SIGKILL'])
}

const moments = ['before', 'after'] as const

for (const name of ['mariadb', 'mysql'] as const)
  testOn(
    name,
    `a migration that is killed at any statement goes on there, and changes rows once, on ${name}`,
    async () => {
      const backing = (await openBacking(name)) as Backing
      const db = await openAgain(backing)
      const words = columnWords[name]
      const state = async () => (await migrationStatus(db, [steps]))[0]?.state
      for (const at of steps.up(words).keys()) {
        for (const moment of moments) {
          await killed(backing.url, 'up', at, moment)
          expect([at, await state()]).toEqual([at, 'half applied'])
          await expect(migrateDown(db, [steps])).rejects.toThrow("migration 0001_steps is half applied; finish it with 'bingo migrate up'")
          expect(await migrateUp(db, [steps])).toEqual(['0001_steps'])
          expect(await db.all('select * from "step"')).toEqual([{ id: '00000000-0000-0000-0000-000000000000', n: 1, more: null }])
          await migrateDown(db, [steps])
        }
      }
      if (typeof steps.down !== 'function') throw new Error('it has a way back')
      for (const at of steps.down(words).keys()) {
        for (const moment of moments) {
          await migrateUp(db, [steps])
          await killed(backing.url, 'down', at, moment)
          expect([at, await state()]).toEqual([at, 'half undone'])
          await expect(migrateUp(db, [steps])).rejects.toThrow("is half undone; finish that with 'bingo migrate down'")
          // The change of rows is the fourth: of one that was not noted nothing is left.
          if (at === 3) expect(await db.first('select "n" from "step"')).toEqual({ n: 1 })
          expect(await migrateDown(db, [steps])).toBe('0001_steps')
          expect(await state()).toBe('pending')
        }
      }
      await db.close()
      await backing.dispose()
    },
    120_000,
  )
