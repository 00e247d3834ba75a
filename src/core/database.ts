import type { Clock } from './clock'
import type { Seal } from './seal'

/** What a driver stores and returns; TypeScript values are turned into these by the table's columns. */
export type SqlValue = string | number | bigint | null | Uint8Array
export type SqlRow = Record<string, SqlValue>

/**
 * A SQL database. Identifiers are quoted with `"` on every driver, parameters are `?`, and a unique violation is thrown as
 * `UniqueViolation`; so one text serves all, and what differs is in `dialect`.
 *
 * Reads outside a transaction may run beside it and see what is committed only. Inside `tx`, use the `tx` it hands you: a
 * call on the outer database there would escape the transaction, or wait for itself, so it throws.
 *
 * @throws Unavailable when the server cannot be reached or too many callers wait, Timeout when it does not answer in time
 */
export interface Database {
  readonly dialect: Dialect
  /** Stamps `createdAt` and `updatedAt`. */
  readonly clock: Clock
  /** Signs page tokens. */
  readonly seal: Seal
  /** True for the database that `tx` hands out. */
  readonly inTransaction: boolean

  all(sql: string, params?: readonly SqlValue[]): Promise<SqlRow[]>
  first(sql: string, params?: readonly SqlValue[]): Promise<SqlRow | undefined>
  /** @returns how many rows the statement matched */
  run(sql: string, params?: readonly SqlValue[]): Promise<{ changes: number }>
  /**
   * Runs `work` in one transaction: all of it or nothing. Commits when `work` resolves, rolls back when it throws.
   * @throws Timeout when `work` takes longer than `timeoutMs` (10,000 by default)
   */
  tx<T>(work: (tx: Database) => Promise<T>, options?: TxOptions): Promise<T>
}

export interface TxOptions {
  timeoutMs?: number
}

export type DialectName = 'sqlite' | 'mysql' | 'mariadb'

/** Where SQLite, MySQL and MariaDB differ. */
export interface Dialect {
  readonly name: DialectName
  /** Appended to a select inside a transaction to keep the row from changing; SQLite has one writer anyway. */
  readonly forUpdate: '' | ' for update'
  /** How the values of each kind of column are stored. Kinds that are not here are stored as they are. */
  readonly codecs: { readonly [kind in ColumnKind]?: Codec }
}

export type ColumnKind = 'text' | 'integer' | 'timestamp' | 'boolean'

export interface Codec {
  encode(value: never): SqlValue
  decode(stored: never): unknown
}

/** A row with the same unique values is there already. Drivers throw it, stores turn it into the table's own error. */
export class UniqueViolation extends Error {
  override readonly name = 'UniqueViolation'
  /** `user_email`: the table and the columns of the key, joined as its index is named. */
  readonly key: string

  constructor(key: string, options: { cause: unknown }) {
    super(`unique key ${key} is violated`, options)
    this.key = key
  }
}

/** The name of the index behind a unique key; migrations and drivers agree on it. */
export const uniqueKeyName = (table: string, columns: readonly string[]): string => [table, ...columns].join('_')
