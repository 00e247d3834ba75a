import { UniqueViolation } from '@/core/database'
import { AppError } from '@/core/error'
import { queueErrors } from '@/core/queue/queue'
import { SqlError } from '../../database/errors'

/** What a database says, as the queue says it. What is none of its errors is a fault of the caller or of ours, and stays. */
export function asUnavailable(thrown: unknown): unknown {
  if (thrown instanceof AppError && thrown.code === queueErrors.QueueUnavailable().code) return thrown
  const isOfDatabase = isPassing(thrown) || thrown instanceof SqlError || thrown instanceof UniqueViolation
  return isOfDatabase ? queueErrors.QueueUnavailable({ cause: thrown, retryAfterSeconds: 1 }) : thrown
}

/** Busy, full, unreachable or too slow: nothing that one of several operations has brought about. */
export const isPassing = (thrown: unknown): boolean =>
  thrown instanceof AppError && (thrown.kind === 'Unavailable' || thrown.kind === 'Timeout')

export const closed = () => queueErrors.QueueUnavailable({ cause: new Error('the queue is closed'), retryAfterSeconds: 1 })
