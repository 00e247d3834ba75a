import { UniqueViolation } from '@/core/database'
import { AppError } from '@/core/error'
import { databaseErrors, SqlError, withoutQuoted } from '../errors'

/** mysql2's errors as the house's, without the values that servers put into them. */
export interface ServerError extends Error {
  code?: string
  errno?: number
  sqlState?: string
  fatal?: boolean
}

const lostCodes = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ER_SERVER_SHUTDOWN',
  // It takes no more connections: of anybody, of this user, of this host.
  'ER_CON_COUNT_ERROR',
  'ER_TOO_MANY_USER_CONNECTIONS',
  'ER_USER_LIMIT_REACHED',
  'ER_HOST_IS_BLOCKED',
  // It keeps no more prepared statements.
  'ER_MAX_PREPARED_STMT_COUNT_REACHED',
  // Its disk is full.
  'ER_DISK_FULL',
  'ER_RECORD_FILE_FULL',
])

/** ER_QUERY_INTERRUPTED: an administrator ended it. The others: a limit on the server did; mysql2 has no name for MariaDB's. */
const endedCodes = new Set(['ER_QUERY_INTERRUPTED', 'ER_QUERY_TIMEOUT'])
const mariadbStatementTimeout = 1969

/** The server takes no writes, or none any more: it was the primary, and its address now leads to another. */
const readOnlyCodes = new Set(['ER_OPTION_PREVENTS_STATEMENT', 'ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION', 'ER_READ_ONLY_MODE'])

/** ER_CHECKREAD is MariaDB's word for a row that another transaction changed after the snapshot of this one. */
const contentionCodes = new Set(['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_CHECKREAD'])

export function translated(failed: ServerError): Error {
  const { code = '' } = failed
  const cause = new SqlError(safeMessage(failed), failed)
  if (code === 'ER_DUP_ENTRY') {
    // MySQL names the key `user.user_email`, MariaDB `user_email`. What stands before it is input.
    const key = /for key '(?:[^']*\.)?([^'.]+)'$/.exec(failed.message)?.[1] ?? ''
    return new UniqueViolation(key, { cause })
  }
  if (contentionCodes.has(code)) return databaseErrors.Busy({ cause, retryAfterSeconds: 1 })
  if (endedCodes.has(code) || failed.errno === mariadbStatementTimeout) return databaseErrors.QueryTimeout({ cause })
  if (failed.fatal || lostCodes.has(code) || readOnlyCodes.has(code)) return databaseErrors.Unreachable({ cause, retryAfterSeconds: 1 })
  return cause
}

/** Whether the connection leads to a server that takes no writes, so that another one may lead elsewhere. */
export const isReadOnly = ({ code = '' }: ServerError): boolean => readOnlyCodes.has(code)

/** Whether it lost against others at the same time; a deadlock has undone the whole transaction, a lock wait the statement. */
export const isContention = (thrown: unknown): boolean =>
  thrown instanceof AppError && thrown.cause instanceof SqlError && contentionCodes.has(thrown.cause.code ?? '')

/** Whether the connection is gone, and with it the transaction. */
export const isLost = (thrown: unknown): boolean =>
  thrown instanceof AppError && (thrown.code === 'Unavailable.Unreachable' || thrown.code === 'Timeout.QueryTimeout')

/** Whether the time that was left for all is over. */
export const isTxTimeout = (thrown: unknown): boolean => thrown instanceof AppError && thrown.code === 'Timeout.TxTimeout'

/** They name a column that the statement left out, or had no value for. */
const namingCodes = new Set(['ER_BAD_NULL_ERROR', 'ER_NO_DEFAULT_FOR_FIELD'])

/**
 * Errors of class 42 are of the statement's text, where values are `?`. In all others what is quoted may be a value, except for the
 * name at the end, which a value cannot imitate: its own closing quote would follow.
 */
function safeMessage({ message, code = '', sqlState = '' }: ServerError): string {
  if (sqlState === '' || sqlState.startsWith('42') || namingCodes.has(code)) return message
  const name = code === 'ER_DUP_ENTRY' ? / for key '[\w$.-]+'$/ : / for column ['`][\w$.`-]+['`] at row \d+$/
  const end = name.exec(message)?.[0] ?? ''
  return `${withoutQuoted(message.slice(0, message.length - end.length))}${end}`
}
