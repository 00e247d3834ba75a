import type { Database, SqlRow } from '@/core/database'

/** What is in the database, of the tables asked for, in one form for every dialect. */
export interface LiveTable {
  name: string
  columns: LiveColumn[]
  primaryKey: string[]
  indexes: LiveIndex[]
}

export interface LiveColumn {
  name: string
  /** `varchar(32)`, `bigint`; integers without their display width. */
  type: string
  /** Undefined where the database does not say it. */
  collation: string | undefined
  isNullable: boolean
  isGenerated: boolean
}

export interface LiveIndex {
  name: string
  columns: string[]
  isUnique: boolean
  /** Which rows it has; `'some'` for a condition that no word of migrations makes. */
  among: 'all' | 'live' | 'some'
}

/** The tables of these names that are there, by name. Two queries, whatever their number. */
export async function readLiveTables(db: Database, names: readonly string[]): Promise<Map<string, LiveTable>> {
  if (names.length === 0) return new Map()
  const read = db.dialect.name === 'sqlite' ? sqlite : server
  const asked = names.map(() => '?').join(', ')
  const [columns, indexes] = await Promise.all([
    db.all(read.columns(asked), names, { from: 'primary' }),
    db.all(read.indexes(asked), names, { from: 'primary' }),
  ])
  const tables = new Map<string, LiveTable>()
  for (const row of columns) {
    const name = String(row['table'])
    const table = tables.get(name) ?? { name, columns: [], primaryKey: [], indexes: [] }
    tables.set(name, table)
    table.columns.push(read.column(row))
  }
  const byIndex = Map.groupBy(indexes, row => JSON.stringify([row['table'], row['name']]))
  for (const rows of byIndex.values()) {
    const [first] = rows
    const table = tables.get(String(first?.['table']))
    if (!first || !table) continue
    const parts = rows.map(read.part)
    if (read.isPrimary(first)) table.primaryKey = parts
    else table.indexes.push(read.index(first, parts))
  }
  return tables
}

/** How one family of databases says what it has. Both lists are in the order of columns. */
interface Reading {
  columns(asked: string): string
  indexes(asked: string): string
  column(row: SqlRow): LiveColumn
  /** One column of an index; anything but the whole column, in ascending order, compared by bytes, is said with it. */
  part(row: SqlRow): string
  isPrimary(row: SqlRow): boolean
  index(row: SqlRow, columns: string[]): LiveIndex
}

const sqlite: Reading = {
  columns: asked => `select m.name as "table", c.name, c.type, c."notnull", c.hidden
    from sqlite_master m join pragma_table_xinfo(m.name) c where m.type = 'table' and m.name in (${asked}) order by c.cid`,
  indexes: asked => `select m.name as "table", i.name, i."unique", i.partial, i.origin, x.name as "column", x."desc", x.coll, s.sql
    from sqlite_master m join pragma_index_list(m.name) i join pragma_index_xinfo(i.name) x
    left join sqlite_master s on s.type = 'index' and s.name = i.name
    where m.type = 'table' and x."key" = 1 and m.name in (${asked}) order by i.name, x.seqno`,
  column: row => ({
    name: String(row['name']),
    // SQLite says the types it knows in capitals.
    type: /^[A-Z]+$/.test(String(row['type'])) ? String(row['type']).toLowerCase() : String(row['type']),
    collation: undefined,
    isNullable: row['notnull'] === 0,
    isGenerated: row['hidden'] !== 0,
  }),
  part: row =>
    `${row['column'] ?? '(an expression)'}${row['desc'] === 1 ? ' desc' : ''}${row['coll'] === 'BINARY' ? '' : ` ${row['coll']}`}`,
  isPrimary: row => row['origin'] === 'pk',
  index: (row, columns) => ({
    name: String(row['name']),
    columns,
    isUnique: row['unique'] === 1,
    among: row['partial'] === 0 ? 'all' : /\bwhere\s+["`]deletedAt["`]\s+is\s+null\s*$/i.test(String(row['sql'])) ? 'live' : 'some',
  }),
}

const server: Reading = {
  columns: asked => `select table_name as "table", column_name as "name", column_type as "type", is_nullable as "nullable",
    collation_name as "collation", extra as "extra"
    from information_schema.columns where table_schema = database() and table_name in (${asked}) order by ordinal_position`,
  indexes: asked => `select table_name as "table", index_name as "name", non_unique as "nonUnique", column_name as "column",
    sub_part as "length", collation as "order"
    from information_schema.statistics where table_schema = database() and table_name in (${asked}) order by index_name, seq_in_index`,
  column: row => ({
    name: String(row['name']),
    type: String(row['type']).replace(/^(smallint|mediumint|int|bigint)\(\d+\)/, '$1'),
    collation: row['collation'] === null ? undefined : String(row['collation']),
    isNullable: row['nullable'] === 'YES',
    isGenerated: /generated/i.test(String(row['extra'])),
  }),
  part: row =>
    `${row['column'] ?? '(an expression)'}${row['length'] === null ? '' : `(${row['length']})`}${row['order'] === 'D' ? ' desc' : ''}`,
  isPrimary: row => row['name'] === 'PRIMARY',
  index(row, columns) {
    const isUnique = Number(row['nonUnique']) === 0
    // As `uniqueIndex` makes it; no column of a table may be named so.
    const isLive = isUnique && columns.at(-1) === 'live'
    return { name: String(row['name']), columns: isLive ? columns.slice(0, -1) : columns, isUnique, among: isLive ? 'live' : 'all' }
  },
}
