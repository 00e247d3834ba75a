import type { DialectName } from './database'

/** One change of the tables, as statements for one database. */
export interface Migration {
  /** Four digits and a name: `0001_user`. The digits order the migrations. */
  readonly id: string
  up(words: ColumnWords): readonly string[]
  /** Undoes `up`, or why it cannot be undone. Data that only the new tables hold is lost. */
  readonly down: ((words: ColumnWords) => readonly string[]) | { readonly irreversible: string }
}

/** How each kind of column is declared, so that one migration serves every database. */
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
  /** The columns of soft delete, whole: `deletedAt`, and what unique indexes among the live need beside it. */
  readonly softDeleteColumns: string
  /** A unique index, named after table and columns. @param among `'live'`: rows that are soft-deleted do not count */
  uniqueIndex(table: string, columns: readonly string[], among?: 'all' | 'live'): string
  /** An index, named after table and columns. */
  index(table: string, columns: readonly string[]): string
  dropIndex(table: string, columns: readonly string[]): string
  /** After the closing parenthesis of `create table`. */
  readonly tableOptions: string
}

const indexName = (table: string, columns: readonly string[]) => `"${[table, ...columns].join('_')}"`
const listed = (columns: readonly string[]) => columns.map(column => `"${column}"`).join(', ')
const index = (table: string, columns: readonly string[]) => `create index ${indexName(table, columns)} on "${table}" (${listed(columns)})`

const server = (collation: string): ColumnWords => ({
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
  // Nulls are distinct in a unique index, so rows that are not live collide with nothing.
  softDeleteColumns: `"deletedAt" datetime(3), "live" tinyint generated always as (case when "deletedAt" is null then 1 end) virtual`,
  uniqueIndex: (table, columns, among = 'all') =>
    `create unique index ${indexName(table, columns)} on "${table}" (${listed(columns)}${among === 'live' ? ', "live"' : ''})`,
  index,
  dropIndex: (table, columns) => `drop index ${indexName(table, columns)} on "${table}"`,
  tableOptions: `engine=InnoDB default character set utf8mb4 collate ${collation}`,
})

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
    softDeleteColumns: '"deletedAt" integer',
    uniqueIndex: (table, columns, among = 'all') =>
      `create unique index ${indexName(table, columns)} on "${table}" (${listed(columns)})${among === 'live' ? ' where "deletedAt" is null' : ''}`,
    index,
    dropIndex: (table, columns) => `drop index ${indexName(table, columns)}`,
    tableOptions: 'strict',
  },
  // Each server has one Unicode collation that compares bytes and does not pad; the other does not know it.
  mysql: server('utf8mb4_0900_bin'),
  mariadb: server('utf8mb4_nopad_bin'),
}
