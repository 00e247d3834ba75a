import type { Cache } from './cache'
import type { Clock } from './clock'
import type { Seal } from './seal'

/** What a driver stores and returns; TypeScript values are turned into these by the table's columns. */
export type SqlValue = string | number | bigint | null | Uint8Array
export type SqlRow = Record<string, SqlValue>

/**
 * A SQL database. Identifiers are quoted with `"` on every driver, parameters are `?`, and a unique violation is thrown as
 * `UniqueViolation`; so one text serves all, and what differs is in `dialect`.
 *
 * Reads outside a transaction may run beside it and see what is committed only; where there are replicas they may go to one.
 * Inside `tx`, use the `tx` it hands you: a call on the outer database there would escape the transaction, or wait for itself,
 * so it throws.
 *
 * @throws Unavailable when the server cannot be reached or too many callers wait, Timeout when it does not answer in time
 */
export interface Database {
  readonly dialect: Dialect
  /** Stamps `createdAt` and `updatedAt`. */
  readonly clock: Clock
  /** Signs page tokens. */
  readonly seal: Seal
  /** Copies of rows, for the tables that ask for it; undefined when this process keeps none. */
  readonly cache: Cache | undefined
  /** True for the database that `tx` hands out. */
  readonly inTransaction: boolean

  all(sql: string, params?: readonly SqlValue[], options?: ReadFrom): Promise<SqlRow[]>
  first(sql: string, params?: readonly SqlValue[], options?: ReadFrom): Promise<SqlRow | undefined>
  /** @returns how many rows the statement matched */
  run(sql: string, params?: readonly SqlValue[]): Promise<{ changes: number }>
  /** Runs an `update … returning` of at most one row. On SQLite only: MySQL has no such thing, and MariaDB not for updates. */
  runReturning?(sql: string, params?: readonly SqlValue[]): Promise<SqlRow | undefined>
  /**
   * Runs `work` in one transaction: all of it or nothing. Commits when `work` resolves, rolls back when it throws. On a `tx` it
   * is a savepoint: what it did alone is undone when it throws, and its calls wait for each other.
   *
   * After a deadlock or a lock that was not given, `work` runs again from the start, in a new transaction: so it changes nothing
   * but the database, and hands the rest to `afterCommit`.
   * @throws Timeout when it takes longer than `timeoutMs`, Unavailable when it was run again in vain, or waited in vain to begin
   */
  tx<T>(work: (tx: Database) => Promise<T>, options?: TxOptions): Promise<T>
  /**
   * Runs `hook` when what was written is committed, before `db.tx` resolves; never when it is undone. Outside a transaction that
   * is now. Hooks run one after another, and may use the outer database. One that fails, or takes longer than 2 s, is logged: what
   * is committed stays so.
   * @param whenUnsure runs instead when the commit was sent and no answer came: what was written may be kept, or not
   */
  afterCommit(hook: Hook, whenUnsure?: Hook): Promise<void>
  /**
   * Throws when the code that runs now is inside a transaction of this database, whose `tx` it must use instead.
   * @param remedy what to do then, as the end of a sentence
   */
  refuseInsideTx(remedy?: string): void
  /**
   * True once after another process has written to the file: what this one keeps of it may be old. On SQLite only; servers do not
   * say. Costs a few microseconds, and does not see what this process wrote.
   */
  changedElsewhere?(): boolean
}

export type Hook = () => Promise<void> | void

export interface ReadFrom {
  /** Where the newest committed state must be read; else a replica or a copy may answer. */
  from?: 'primary'
}

/** A savepoint takes `timeoutMs` only: the others are of the whole transaction. */
export interface TxOptions {
  /** As in SQL:1992. The server's own, which is `repeatable read`, when absent. SQLite is serializable whatever is asked. */
  isolation?: Isolation
  /** For all of it, with the wait for a connection and the repetitions. 10,000 by default; a savepoint has its transaction's. */
  timeoutMs?: number
  /** How often `work` may run again after a deadlock or a lock that was not given. 5 by default; 0 when it must run once only. */
  retries?: number
}
export type Isolation = 'read committed' | 'repeatable read' | 'serializable'

export type DialectName = 'sqlite' | 'mysql' | 'mariadb'

/** Each server has one Unicode collation that compares bytes and does not pad; the other does not know it. */
export const textCollations = { mysql: 'utf8mb4_0900_bin', mariadb: 'utf8mb4_nopad_bin' } as const

/** Where SQLite, MySQL and MariaDB differ. */
export interface Dialect {
  readonly name: DialectName
  /** Appended to a select inside a transaction to keep the row from changing; SQLite has one writer anyway. */
  readonly forUpdate: '' | ' for update'
  /** How the values of a kind of column are stored. Kinds that are not here are stored as they are. */
  readonly codecs: { readonly [kind in ColumnKind]?: Codec }
}

export type ColumnKind =
  | 'id'
  | 'text'
  | 'longText'
  | 'enum'
  | 'integer'
  | 'bigint'
  | 'decimal'
  | 'float'
  | 'boolean'
  | 'timestamp'
  | 'date'
  | 'json'
  | 'binary'

export interface Codec {
  encode(value: never, column: Digits): SqlValue
  decode(stored: never, column: Digits): unknown
  /** How the column is selected when its name alone would lose something. @param name quoted */
  select?(name: string): string
  /** What stands for a value that the column is compared with, when `?` alone would be compared as something else. */
  placeholder?(column: Digits): string
}
/** Of a decimal. */
interface Digits {
  readonly precision?: number
  readonly scale?: number
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
