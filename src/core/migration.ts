import { type DialectName, textCollations, uniqueKeyName } from './database'

/** One change of the tables, as statements for one database. */
export interface Migration {
  /** Four digits and a name: `0001_user`. The digits order the migrations. */
  readonly id: string
  up(words: ColumnWords): readonly string[]
  /** Undoes `up`, or why it cannot be undone. Data that only the new tables hold is lost. */
  readonly down: ((words: ColumnWords) => readonly string[]) | { readonly irreversible: string }
}

/**
 * How each kind of column is declared, so that one migration serves every database. What the words say is part of the checksum
 * of every migration that has used them: add words, and never change what one says.
 */
export interface ColumnWords {
  readonly id: string
  /** Text up to `length` characters, compared by bytes without padding: `'a '` is not `'a'`, `é` is not `e`. */
  text(length: number): string
  /** Text up to 16 MiB; it cannot be indexed. */
  readonly longText: string
  readonly integer: string
  readonly bigint: string
  /** @param precision digits in all, at most 18. @param scale digits after the point */
  decimal(precision: number, scale: number): string
  readonly float: string
  readonly boolean: string
  readonly timestamp: string
  readonly date: string
  readonly json: string
  /** Bytes, up to `length` of them. */
  binary(length: number): string
  /** 1970-01-01T00:00:00.000Z as a literal: what a required timestamp is in the rows that were there before its column. */
  readonly epoch: string
  /** The columns of soft delete, whole: `deletedAt`, and what unique indexes among the live need beside it. */
  readonly softDeleteColumns: string
  /** The same for a table that is there already. Its unique indexes are dropped before, and made again among the live. */
  addSoftDelete(table: string): readonly string[]
  /** Undoes `addSoftDelete`; the unique indexes among the live are dropped before. */
  dropSoftDelete(table: string): readonly string[]
  /** A unique index, named after table and columns. @param among `'live'`: rows that are soft-deleted do not count */
  uniqueIndex(table: string, columns: readonly string[], among?: 'all' | 'live'): string
  /** An index, named after table and columns. It ends in `id`, which is appended when it is not there and is not in the name. */
  index(table: string, columns: readonly string[]): string
  /** Drops either kind. */
  dropIndex(table: string, columns: readonly string[]): string
  /**
   * Changes the length of a column, or whether it may be absent; said with both, `{ from: text(64), to: text(128) }` or with
   * ` not null` after them, so that SQLite, which keeps no lengths, does nothing when nothing changes for it.
   * Rows without a value are given one before it becomes `not null`.
   */
  changeColumn(table: string, column: string, change: { from: string; to: string }): readonly string[]
  /** After the closing parenthesis of `create table`. */
  readonly tableOptions: string
  /** The same, of a table that is looked into by its primary key alone. */
  readonly keyedTableOptions: string
  /** Statements for tables that a folder of src/infra keeps and no module declares: they are no concern of `make:migration`. */
  undeclared(statements: readonly string[]): readonly string[]
  /** Statements that one kind of database runs and the other does not: what only it needs, in its own SQL. */
  onlyOn(kind: DatabaseKind, statements: readonly string[]): readonly string[]
}

/** A file, or MySQL and MariaDB. */
export type DatabaseKind = 'sqlite' | 'server'

/** Longest name that MySQL takes. Refused on SQLite too, where most migrations run first. */
const indexNameMax = 64

/** A last `id` only makes the order of an index total, so it is not in the name. */
function indexName(table: string, columns: readonly string[]): string {
  const named = columns.length > 1 && columns.at(-1) === 'id' ? columns.slice(0, -1) : columns
  const name = uniqueKeyName(table, named)
  if (name.length > indexNameMax) throw new Error(`the name of the index ${name} is longer than ${indexNameMax} characters`)
  return `"${name}"`
}
const listed = (columns: readonly string[]) => columns.map(column => `"${column}"`).join(', ')
const index = (table: string, columns: readonly string[]) =>
  `create index ${indexName(table, columns)} on "${table}" (${listed(columns.at(-1) === 'id' ? columns : [...columns, 'id'])})`

const live = `"live" tinyint generated always as (case when "deletedAt" is null then 1 end) virtual`

const serverTableOptions = (collation: string) => `engine=InnoDB default character set utf8mb4 collate ${collation}`

const server = (dialect: 'mysql' | 'mariadb', collation: string = textCollations[dialect]): ColumnWords => ({
  id: 'char(36) character set ascii collate ascii_bin',
  text: length => `varchar(${length}) character set utf8mb4 collate ${collation}`,
  longText: `mediumtext character set utf8mb4 collate ${collation}`,
  integer: 'bigint',
  bigint: 'bigint',
  decimal: (precision, scale) => `decimal(${precision},${scale})`,
  float: 'double',
  boolean: 'boolean',
  timestamp: 'datetime(3)',
  date: 'date',
  json: 'json',
  binary: length => (length > 16_000 ? 'mediumblob' : `varbinary(${length})`),
  epoch: "'1970-01-01 00:00:00.000'",
  // Nulls are distinct in a unique index, so rows that are not live collide with nothing.
  softDeleteColumns: `"deletedAt" datetime(3), ${live}`,
  addSoftDelete: table => [`alter table "${table}" add column "deletedAt" datetime(3), add column ${live}`],
  dropSoftDelete: table => [`alter table "${table}" drop column "live", drop column "deletedAt"`],
  uniqueIndex: (table, columns, among = 'all') =>
    `create unique index ${indexName(table, columns)} on "${table}" (${listed(columns)}${among === 'live' ? ', "live"' : ''})`,
  index,
  dropIndex: (table, columns) => `drop index ${indexName(table, columns)} on "${table}"`,
  changeColumn: (table, column, { to }) => [`alter table "${table}" modify column "${column}" ${to}`],
  tableOptions: serverTableOptions(collation),
  keyedTableOptions: serverTableOptions(collation),
  undeclared: statements => statements,
  onlyOn: (kind, statements) => (kind === 'server' ? statements : []),
})

const required = / not null$/

export const columnWords: Record<DialectName, ColumnWords> = {
  sqlite: {
    id: 'text',
    text: () => 'text',
    longText: 'text',
    integer: 'integer',
    bigint: 'integer',
    // In units of its last digit, since SQLite would keep it as a float.
    decimal: () => 'integer',
    float: 'real',
    boolean: 'integer',
    timestamp: 'integer',
    date: 'text',
    json: 'text',
    binary: () => 'blob',
    epoch: '0',
    softDeleteColumns: '"deletedAt" integer',
    addSoftDelete: table => [`alter table "${table}" add column "deletedAt" integer`],
    dropSoftDelete: table => [`alter table "${table}" drop column "deletedAt"`],
    uniqueIndex: (table, columns, among = 'all') =>
      `create unique index ${indexName(table, columns)} on "${table}" (${listed(columns)})${among === 'live' ? ' where "deletedAt" is null' : ''}`,
    index,
    dropIndex: (table, columns) => `drop index ${indexName(table, columns)}`,
    changeColumn(table, column, { from, to }) {
      if (from.replace(required, '') !== to.replace(required, ''))
        throw new Error(`column ${table}.${column}: SQLite cannot make ${from} into ${to}; add a column, copy, and drop the old one`)
      if (required.test(from) === required.test(to)) return []
      return [`alter table "${table}" alter column "${column}" ${required.test(to) ? 'set' : 'drop'} not null`]
    },
    tableOptions: 'strict',
    keyedTableOptions: 'strict, without rowid',
    undeclared: statements => statements,
    onlyOn: (kind, statements) => (kind === 'sqlite' ? statements : []),
  },
  mysql: server('mysql'),
  mariadb: server('mariadb'),
}
