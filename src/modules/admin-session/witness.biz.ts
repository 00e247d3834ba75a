import { type Actor, type AuditLog, entryOn } from '@/core/audit'
import { AppError } from '@/core/error'
import { subjectOf } from '@/core/identity'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import { type Device, sessionErrors, type Witness } from '@/modules/session'

/** What it writes into the audit log. */
export const witnessAudits = ['admin-session.create', 'admin-session.end', 'admin-session.refused'] as const

/** What becomes of the sessions of administrators, in the audit log. */
export function adminSessionWitness({
  audit,
  administrators,
}: {
  audit: AuditLog<(typeof witnessAudits)[number]>
  administrators: Pick<AdministratorBiz, 'idNamed'>
}): Witness<Administrator> & { refusing<T>(username: string, device: Device, logIn: Promise<T>): Promise<T> } {
  const by = (id: string, device: Device, actorName?: string): Actor => ({
    ...{ actor: subjectOf('admin', id), address: device.address, requestId: device.requestId },
    ...(actorName !== undefined && { actorName }),
  })

  return {
    begun: ({ id, username }, sessionId, device) => audit.note(by(id, device, username), entryOn('admin-session.create', sessionId)),
    ended: (tx, { accountId, sessionId }, device) => audit.record(tx, by(accountId, device), entryOn('admin-session.end', sessionId)),
    // Who has used it again, the thief or the administrator, nobody can tell.
    stolen: ({ accountId, sessionId }, { address, requestId }) =>
      audit.note(
        { actor: undefined, address, requestId },
        {
          ...entryOn('admin-session.refused', sessionId),
          ...{
            outcome: 'refused',
            reason: sessionErrors.RefreshTokenInvalid().code,
            before: { administrator: `administrator:${accountId}` },
          },
        },
      ),
    /** Whoever it was is not let in, and nobody says as whom: what was typed may be a password. An administrator of the name is named. */
    async refusing(username, { address, requestId }, logIn) {
      try {
        return await logIn
      } catch (thrown) {
        if (!(thrown instanceof AppError) || thrown.httpStatus >= 500) throw thrown
        // Not waited for: who asks must not tell by the time it takes whether there is one of the name.
        audit.refused({ actor: undefined, address, requestId }, { action: 'admin-session.refused', reason: thrown.code }, async () => {
          const meant = await administrators.idNamed(username)
          return meant === undefined ? {} : { object: `administrator:${meant}` }
        })
        throw thrown
      }
    },
  }
}
