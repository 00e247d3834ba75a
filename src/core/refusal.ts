import type { Actor, AuditEntry, AuditLog } from './audit'
import { AppError } from './error'

/**
 * Does what tells whether somebody is who they say: whoever guesses inside a session is seen in the audit log, also while it is too early for
 * the next guess. Faults of ours are no refusals.
 * @param entry what it was that they were not let do
 * @throws what `work` does; Unavailable when a refusal could not be written
 */
export async function notingRefusals<T, Action extends string>(
  audit: Pick<AuditLog<Action>, 'note'>,
  by: Actor,
  entry: AuditEntry<Action>,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.httpStatus < 500) await audit.note(by, { ...entry, outcome: 'refused', reason: thrown.code })
    throw thrown
  }
}
