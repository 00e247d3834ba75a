import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { columnWords, type Migration } from '@/core/migration'
import { BigInteger, Bytes, CalendarDate, Decimal, Json, OneOf, Timestamp, Type } from '@/core/schema'
import { type AnyTable, defineTable } from '@/core/table'
import { rowCodec, selectOf, type Column } from '@/core/column'
import { defineErrors } from '@/core/error'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateDown, migrateUp } from '@/infra/database/migrate'
import { drift } from '@/infra/database/migrate/drift'
import type { Backing } from '../backings'
import { migrationMaker } from '../made-migrations'
import { openAgain } from './fixture'

const { Taken } = defineErrors({ Taken: ['Conflict', 'It is taken.'] })

/** Columns of every kind, and indexes of every kind. */
const columns = {
  name: Type.String({ maxLength: 40 }),
  note: Type.Optional(Type.String({ maxLength: 200 })),
  body: Type.String(),
  count: Type.Integer(),
  big: BigInteger('Many.'),
  price: Decimal(10, 2, 'What it costs.'),
  ratio: Type.Number(),
  isOpen: Type.Boolean(),
  happensAt: Timestamp('When.'),
  day: CalendarDate('On which day.'),
  tags: Json(Type.Array(Type.String())),
  picture: Bytes(100, 'Small.'),
  film: Bytes(1_000_000, 'Large.'),
  kind: OneOf(['big', 'small'], { description: 'Its size.' }),
}
const indexes = {
  unique: [
    { columns: ['name'], taken: Taken },
    { columns: ['kind', 'count'], taken: Taken },
  ],
  sortable: ['createdAt', 'count'],
  indexes: [['kind', 'happensAt']],
} as const
const samples = defineTable('sample', columns, indexes)
const removable = defineTable('sample', columns, { ...indexes, softDelete: true })

/** That every way in which a table may differ from its declaration is named, on whichever database. */
export function driftSuite(open: () => Promise<Backing>): void {
  let backing: Backing
  let db: OpenDatabase
  let migration: Migration
  const make = migrationMaker()
  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    migration = (await make([], '0001_sample', [removable])).migration as Migration
  })
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })
  beforeEach(async () => {
    await db.run('drop table if exists "sample"')
    await db.run('drop table if exists "migration"')
    await migrateUp(db, [migration])
  })
  const isSqlite = () => db.dialect.name === 'sqlite'
  const words = () => columnWords[db.dialect.name]
  const run = async (...statements: readonly string[]) => {
    for (const statement of statements) await db.run(statement)
  }
  const found = () => drift(db, [removable])

  test('a table as declared has no difference, and tables that nobody declares are not looked at', async () => {
    await run('drop table if exists "other"', 'create table "other" ("id" integer)')
    expect(await found()).toEqual([])
    expect(await drift(db, [])).toEqual([])
  })
  test('a missing table', async () => {
    await migrateDown(db, [migration])
    expect(await found()).toEqual(['table sample is missing'])
  })
  test('a missing column, and one that is not declared', async () => {
    await run('alter table "sample" rename column "note" to "nota"')
    expect(await found()).toEqual(['table sample has no column note', 'table sample has a column nota that is not declared'])
  })
  test('a column that may be absent where it is required, and the reverse', async () => {
    const { text, integer, changeColumn } = words()
    await run(...changeColumn('sample', 'note', { from: text(200), to: `${text(200)} not null` }))
    await run(...changeColumn('sample', 'count', { from: `${integer} not null`, to: integer }))
    expect(await found()).toEqual([
      'column sample.note is required; it should be optional',
      'column sample.count may be absent; it should be required',
    ])
  })
  test('a missing index, and one that is not declared', async () => {
    const { dropIndex, index } = words()
    await run(dropIndex('sample', ['name']), dropIndex('sample', ['count']), index('sample', ['note']))
    expect(await found()).toEqual([
      'table sample has no unique index on (name)',
      'table sample has no index on (count, id)',
      'table sample has an index sample_note on (note, id) that is not declared',
    ])
  })
  test('an index by another name is no difference', async () => {
    await run(words().dropIndex('sample', ['count']), 'create index "by_count" on "sample" ("count", "id")')
    expect(await found()).toEqual([])
  })
  test('an index that is not unique where it should be, and one that counts the rows that are removed', async () => {
    const { dropIndex, uniqueIndex } = words()
    await run(dropIndex('sample', ['name']), 'create index "sample_name" on "sample" ("name")')
    await run(dropIndex('sample', ['kind', 'count']), uniqueIndex('sample', ['kind', 'count']))
    const should = 'it should be unique, among the rows that are not removed'
    expect(await found()).toEqual([
      `the index sample_name of table sample on (name) is not unique; ${should}`,
      `the index sample_kind_count of table sample on (kind, count) is unique; ${should}`,
    ])
  })
  test('an index in another order, of a part, or of some rows only', async () => {
    await run('create index "back" on "sample" ("count" desc)')
    await run(isSqlite() ? 'create index "some" on "sample" ("note") where "count" > 0' : 'create index "some" on "sample" ("note"(10))')
    expect(await found()).toEqual([
      'table sample has an index back on (count desc) that is not declared',
      `table sample has an index some on (${isSqlite() ? 'note' : 'note(10)'}) that is not declared`,
    ])
  })
  test('soft delete that is missing', async () => {
    await run(words().dropIndex('sample', ['name']), words().dropIndex('sample', ['kind', 'count']), ...words().dropSoftDelete('sample'))
    expect(await found()).toEqual([
      'table sample has no column deletedAt',
      ...(isSqlite() ? [] : ['table sample has no column live, which its unique indexes need for soft delete']),
      'table sample has no unique index on (name)',
      'table sample has no unique index on (kind, count)',
    ])
    await run(...words().addSoftDelete('sample'))
    expect(await drift(db, [samples])).toEqual([
      'table sample has a column deletedAt that is not declared',
      ...(isSqlite() ? [] : ['table sample has a column live that is not declared']),
      'table sample has no unique index on (name)',
      'table sample has no unique index on (kind, count)',
    ])
  })
  test('a column of another type', async () => {
    if (isSqlite()) {
      await run('alter table "sample" drop column "ratio"', `alter table "sample" add column "ratio" text not null default ''`)
      expect(await found()).toEqual(['column sample.ratio is text; it should be real'])
      return
    }
    const changed: [string, string, string | undefined][] = [
      ['name', `varchar(39) character set utf8mb4 collate ${collation()} not null`, 'is varchar(39); it should be varchar(40)'],
      ['name', `varchar(41) character set utf8mb4 collate ${collation()} not null`, undefined],
      [
        'name',
        'varchar(40) character set utf8mb4 collate utf8mb4_general_ci not null',
        `has the collation utf8mb4_general_ci; it should have ${collation()}`,
      ],
      ['note', 'varchar(10) not null', `is varchar(10); it should be varchar(200), and is required; it should be optional`],
      ['body', `text character set utf8mb4 collate ${collation()} not null`, 'is text; it should be mediumtext'],
      ['body', `longtext character set utf8mb4 collate ${collation()} not null`, undefined],
      ['count', 'int not null', 'is int; it should be bigint'],
      ['count', 'bigint unsigned not null', 'is bigint unsigned; it should be bigint'],
      ['price', 'decimal(9,2) not null', 'is decimal(9,2); it should be decimal(10,2)'],
      ['price', 'decimal(12,3) not null', 'is decimal(12,3); it should be decimal(10,2)'],
      ['price', 'decimal(12,2) not null', undefined],
      ['ratio', 'float not null', 'is float; it should be double'],
      ['isOpen', 'smallint not null', 'is smallint; it should be tinyint(1)'],
      ['happensAt', 'datetime not null', 'is datetime; it should be datetime(3)'],
      ['tags', 'mediumtext not null', `is mediumtext; it should be ${db.dialect.name === 'mysql' ? 'json' : 'longtext'}`],
      ['picture', 'varbinary(99) not null', 'is varbinary(99); it should be varbinary(100)'],
      ['film', 'blob not null', 'is blob; it should be mediumblob'],
      ['film', 'longblob not null', undefined],
    ]
    for (const [column, type, says] of changed) {
      const [{ declared } = { declared: '' }] = await db.all(
        `select concat(column_type, if(collation_name is null, '', concat(' collate ', collation_name)), if(is_nullable = 'NO', ' not null', '')) as declared
         from information_schema.columns where table_schema = database() and table_name = 'sample' and column_name = ?`,
        [column],
      )
      await run(`alter table "sample" modify column "${column}" ${type}`)
      expect([type, await found()]).toEqual([type, says ? [`column sample.${column} ${says}`] : []])
      await run(`alter table "sample" modify column "${column}" ${declared}`)
      expect(await found()).toEqual([])
    }
  })
  const collation = () => (db.dialect.name === 'mysql' ? 'utf8mb4_0900_bin' : 'utf8mb4_nopad_bin')
  test('another primary key', async () => {
    await run('drop table "sample"')
    const [create = '', ...others] = migration.up(words())
    await run(create.replace(' primary key', '').replace(/\)([^)]*)$/, ', primary key ("id", "count"))$1'), ...others)
    expect(await found()).toEqual(['the primary key of table sample is (id, count); it should be (id)'])
  })

  // Said here rather than by the store, since its tables are not of one program.
  const id = '00000000-0000-7000-8000-000000000001'
  const insert = (table: AnyTable, row: object) => {
    const values = rowCodec(table.columns, db.dialect).encodeRow(row)
    const names = table.columns.map((column: Column) => `"${column.name}"`)
    return db.run(`insert into "sample" (${names.join(', ')}) values (${values.map(() => '?').join(', ')})`, values)
  }
  const read = async (table: AnyTable) => {
    const names = table.columns.map((column: Column) => selectOf(column, db.dialect))
    const stored = await db.first(`select ${names.join(', ')} from "sample" where "id" = ?`, [id])
    return stored && rowCodec(table.columns, db.dialect).decodeRow(stored)
  }
  test('the migration that is made from the differences brings a table with rows to the next declaration, and back', async () => {
    const before = defineTable(
      'sample',
      {
        name: Type.String({ maxLength: 20 }),
        note: Type.String({ maxLength: 250 }),
        ratio: Type.Optional(Type.Number()),
        gone: columns.body,
        was: columns.happensAt,
      },
      { unique: [{ columns: ['name', 'was'], taken: Taken }], indexes: [['was']] },
    )
    await migrateDown(db, [migration])
    const first = await make([], '0001_sample', [before])
    const second = await make([first.migration as Migration], '0002_sample', [removable])
    const both = [first.migration, second.migration] as Migration[]
    expect((await make(both, '0003_sample', [removable])).migration).toBeUndefined()
    expect(second.remarks).toContain('rows without sample.ratio get 0')
    expect(second.remarks).toContain("rows that are there already get 'big' as sample.kind")
    expect(second.remarks).toContain('sample.gone is dropped with what is in it')

    await migrateUp(db, both.slice(0, 1))
    expect(await drift(db, [before])).toEqual([])
    const at = '2026-01-31T09:05:00.123Z'
    await insert(before, { id, name: 'a', note: 'n', gone: 'g', was: at, createdAt: at, updatedAt: at, version: 1 })
    expect(await migrateUp(db, both)).toEqual(['0002_sample'])
    expect(await found()).toEqual([])
    expect(await read(removable)).toMatchObject({
      name: 'a',
      note: 'n',
      body: '',
      count: 0,
      big: '0',
      price: '0.00',
      ratio: 0,
      isOpen: false,
      happensAt: '1970-01-01T00:00:00.000Z',
      day: '1970-01-01',
      tags: [],
      picture: new Uint8Array(),
      film: new Uint8Array(),
      kind: 'big',
    })
    await db.run('update "sample" set "note" = null')
    expect(await migrateDown(db, both)).toBe('0002_sample')
    expect(await drift(db, [before])).toEqual([])
    expect(await read(before)).toMatchObject({
      name: 'a',
      note: '',
      ratio: 0,
      gone: '',
      was: '1970-01-01T00:00:00.000Z',
    })
    expect(await migrateDown(db, both)).toBe('0001_sample')
    await migrateUp(db, [migration])
  })
  test('what needs a person is not made: another kind, another scale', async () => {
    const other = { ...columns, count: Type.Number(), price: Decimal(10, 3, 'What it costs.') }
    await expect(make([migration], '0002_sample', [defineTable('sample', other, { ...indexes, softDelete: true })])).rejects.toThrow(
      'by hand, since its rows have to be converted: column sample.count is integer; it should be float; column sample.price is decimal(10, 2)',
    )
  })
}
