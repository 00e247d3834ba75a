import { type Column, columnType } from '@/core/column'
import type { Database } from '@/core/database'
import { type ColumnWords, columnWords, type Migration } from '@/core/migration'
import type { AnyTable } from '@/core/table'
import { type Difference, differences } from './drift'
import { type LiveTable, readLiveTables } from './live-tables'

/**
 * What the migrations say that the tables are, for every database at once. They are replayed on an empty SQLite in words that
 * write each kind of column as its own type (`text(64)`, `timestamp`), which SQLite keeps as it is written where the table is not
 * strict. So lengths are known that SQLite has no types for, nothing has to be recorded beside the migrations, and a difference
 * found here is a difference on every database.
 */
export interface Recorded {
  tables: Map<string, LiveTable>
  /** Where the tables that are declared are not as recorded. */
  differences: Difference[]
}

/** @param db an empty SQLite, for this alone */
export async function replay(db: Database, migrations: readonly Migration[], declared: readonly AnyTable[]): Promise<Recorded> {
  const types = new Map<string, string>()
  const words = recordingWords(types)
  for (const migration of migrations) {
    for (const statement of migration.up(words)) await db.run(statement)
    // A column that is gone may come again with another type.
    const left = await recordedTables(db, types)
    for (const key of types.keys()) if (!hasColumn(left, key)) types.delete(key)
  }
  const tables = await recordedTables(db, types)
  const rules = {
    words,
    isLiveAColumn: false,
    misfit: (expected: string, live: { type: string }) =>
      live.type === expected ? undefined : `is ${live.type}; it should be ${expected}`,
  }
  return { tables, differences: differences(declared, tables, rules) }
}

/** How the type of a column is recorded, and written in TypeScript. */
export const recordedType = (column: Column): string => columnType(column, recordingWords(new Map()))

const keyOf = (table: string, column: string) => `${table}.${column}`

/** @param types by column, where it has been changed: SQLite cannot change the type of a column */
function recordingWords(types: Map<string, string>): ColumnWords {
  const { changeColumn } = columnWords.sqlite
  return {
    ...columnWords.sqlite,
    id: 'id',
    text: length => `text(${length})`,
    longText: 'longText',
    // What every database stores in the same way is one kind here.
    integer: 'integer',
    bigint: 'integer',
    decimal: (precision, scale) => `decimal(${precision}, ${scale})`,
    float: 'float',
    boolean: 'boolean',
    timestamp: 'timestamp',
    date: 'date',
    json: 'json',
    binary: length => `binary(${length})`,
    softDeleteColumns: '"deletedAt" timestamp',
    addSoftDelete: table => [`alter table "${table}" add column "deletedAt" timestamp`],
    changeColumn(table, column, { from, to }) {
      const required = / not null$/
      types.set(keyOf(table, column), to.replace(required, ''))
      const nullability = (declared: string) => (required.test(declared) ? 'text not null' : 'text')
      return changeColumn(table, column, { from: nullability(from), to: nullability(to) })
    },
    tableOptions: '',
    keyedTableOptions: '',
    undeclared: () => [],
    // What only one kind of database has is no table that a module declares.
    onlyOn: () => [],
  }
}

async function recordedTables(db: Database, types: ReadonlyMap<string, string>): Promise<Map<string, LiveTable>> {
  const rows = await db.all(`select name from sqlite_master where type = 'table' and name not like 'sqlite_%'`)
  const tables = await readLiveTables(
    db,
    rows.map(row => String(row['name'])),
  )
  for (const table of tables.values())
    for (const column of table.columns) column.type = types.get(keyOf(table.name, column.name)) ?? column.type
  return tables
}

const hasColumn = (tables: ReadonlyMap<string, LiveTable>, key: string) =>
  [...tables.values()].some(({ name, columns }) => columns.some(column => keyOf(name, column.name) === key))
