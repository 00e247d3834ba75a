import { defineErrors } from '@/core/error'

export const databaseErrors = defineErrors({
  Unreachable: ['Unavailable', 'The database cannot be reached.'],
  Busy: ['Unavailable', 'The database is busy.'],
  QueryTimeout: ['Timeout', 'The database did not answer in time.'],
  TxTimeout: ['Timeout', 'The transaction took too long and was undone.'],
})

/**
 * What a database said, without the values in it: those are somebody's data, and errors end up in logs. Drivers throw it, as
 * itself or as a cause, and never their own error.
 */
export class SqlError extends Error {
  override readonly name = 'SqlError'
  /** `ER_DATA_TOO_LONG`, `SQLITE_FULL`, `ECONNREFUSED`. */
  readonly code: string | undefined
  readonly errno: number | undefined
  readonly sqlState: string | undefined

  /** @param message without values */
  constructor(message: string, { code, errno, sqlState }: { code?: string; errno?: number; sqlState?: string }) {
    super(message)
    this.code = code
    this.errno = errno
    this.sqlState = sqlState
  }
}

/** The text up to its first quote. What is quoted may itself hold quotes, so that nobody can tell where it ends. */
export function withoutQuoted(message: string): string {
  const at = message.search(/['"]/)
  return at < 0 ? message : `${message.slice(0, at)}'…'`
}

/** Text literals in SQL. Between the quotes of a server a backslash takes the next character along. */
const literals = { sqlite: /'(?:[^']|'')*'/g, server: /'(?:[^'\\]|\\.|'')*'/gs }

/** SQL as it may be logged: literals in it are values too. */
export const withoutLiterals = (sql: string, dialect: keyof typeof literals): string => sql.replace(literals[dialect], "'…'")
