import { SQLiteError } from 'bun:sqlite'
import { UniqueViolation, uniqueKeyName } from '@/core/database'
import { AppError } from '@/core/error'
import { databaseErrors, SqlError, withoutQuoted } from '../errors'

/** SQLite's errors as the house's, without values. Its numbers have what kind it is in the lowest byte, and which one above. */
const busy = 5
const busySnapshot = 517
const ioError = 10
const full = 13

const isKind = (thrown: unknown, kind: number): thrown is SQLiteError => thrown instanceof SQLiteError && (thrown.errno & 0xff) === kind

/** Another process holds the lock, which may pass while one waits. */
export const isBusy = (thrown: unknown): boolean => isKind(thrown, busy) && thrown.errno !== busySnapshot

/** Whether a transaction lost against another process. */
export const isContention = (thrown: unknown): boolean => thrown instanceof AppError && thrown.code === 'Unavailable.Busy'

export function translated(thrown: unknown): unknown {
  if (!(thrown instanceof SQLiteError)) return thrown
  const cause = new SqlError(safeMessage(thrown.message), thrown)
  // `UNIQUE constraint failed: user.username` names table and columns of the key.
  const unique = /^UNIQUE constraint failed: (.+)$/.exec(thrown.message)
  if (unique?.[1]) {
    const columns = unique[1].split(', ').map(name => name.split('.'))
    const key = uniqueKeyName(
      columns[0]?.[0] ?? '',
      columns.map(([, column]) => column ?? ''),
    )
    return new UniqueViolation(key, { cause })
  }
  // It read what another process has changed since: only a new transaction sees that.
  if (thrown.errno === busySnapshot) return databaseErrors.Busy({ cause, retryAfterSeconds: 1 })
  // Nothing the caller can change, and it may pass.
  if (isKind(thrown, full) || isKind(thrown, ioError)) return databaseErrors.Unreachable({ cause, retryAfterSeconds: 1 })
  return cause
}

/** These quote the statement's text, where values are `?`. What others quote may be a value: a JSON path, a word to search for. */
const ofText = /^near "|^unrecognized token: "/
const safeMessage = (message: string): string => (ofText.test(message) ? message : withoutQuoted(message))
