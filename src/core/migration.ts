import type { DialectName } from './database'

/** One change of the tables, as statements for one database. */
export interface Migration {
  /** Four digits and a name: `0001_user`. The digits order the migrations. */
  readonly id: string
  up(words: ColumnWords): readonly string[]
  /** Undoes `up`. Data that only the new tables hold is lost. */
  down(words: ColumnWords): readonly string[]
}

/** How each kind of column is declared, so that one migration serves every database. */
export interface ColumnWords {
  readonly id: string
  /** Text up to `length` characters, compared by bytes without padding: `'a '` is not `'a'`, `é` is not `e`. */
  text(length: number): string
  readonly integer: string
  readonly boolean: string
  readonly timestamp: string
  /** After the closing parenthesis of `create table`. */
  readonly tableOptions: string
}

const server = (collation: string): ColumnWords => ({
  id: 'char(36) character set ascii collate ascii_bin',
  text: length => `varchar(${length}) character set utf8mb4 collate ${collation}`,
  integer: 'bigint',
  boolean: 'boolean',
  timestamp: 'datetime(3)',
  tableOptions: `engine=InnoDB default character set utf8mb4 collate ${collation}`,
})

export const columnWords: Record<DialectName, ColumnWords> = {
  sqlite: { id: 'text', text: () => 'text', integer: 'integer', boolean: 'integer', timestamp: 'integer', tableOptions: 'strict' },
  // Each server has one Unicode collation that compares bytes and does not pad; the other does not know it.
  mysql: server('utf8mb4_0900_bin'),
  mariadb: server('utf8mb4_nopad_bin'),
}
