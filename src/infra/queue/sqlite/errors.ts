import { AppError } from '@/core/error'
import { queueErrors } from '@/core/queue/queue'
import { SqlError } from '../../database/errors'
import { isPassing } from '../driver'

/** SQLITE_TOOBIG, SQLITE_CONSTRAINT and SQLITE_MISMATCH: what was to be written is refused, and would be another time. */
const faultsOfRows: readonly number[] = [18, 19, 20]

const isOfRow = (thrown: unknown): boolean => thrown instanceof SqlError && faultsOfRows.includes((thrown.errno ?? 0) & 0xff)

/**
 * What a database says, as the queue says it. What is none of its errors, or is about what was to be written and not about the
 * database, is a fault of the caller or of ours, and stays: nobody is to ask again for it.
 */
export function asUnavailable(thrown: unknown): unknown {
  if (thrown instanceof AppError && thrown.code === queueErrors.QueueUnavailable().code) return thrown
  const isOfDatabase = isPassing(thrown) || (thrown instanceof SqlError && !isOfRow(thrown))
  return isOfDatabase ? queueErrors.QueueUnavailable({ cause: thrown, retryAfterSeconds: 1 }) : thrown
}

export const closed = () => queueErrors.QueueUnavailable({ cause: new Error('the queue is closed'), retryAfterSeconds: 1 })
