import { type Asking, askedBy } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import { toTimestamp } from '@/core/clock'
import { type AdminIdentity, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { AdminSessionBiz } from '@/modules/admin-session'
import type { AdministratorBiz, InvitationBiz } from '@/modules/administrator'
import type { SecondFactorBiz } from '@/modules/second-factor'
import type { Me, PasswordChange, SetUp } from './schema'

/** What it writes into the audit log. */
export const audits = ['administrator.set-password'] as const

export type AdminMeBiz = ReturnType<typeof adminMeBiz>

type Needs = Pick<Ports, 'db' | 'log'> & {
  administrators: Pick<AdministratorBiz, 'get' | 'hashPassword' | 'setPassword' | 'tell'>
  invitations: Pick<InvitationBiz, 'removeAll'>
  factors: SecondFactorBiz
  sessions: Pick<AdminSessionBiz, 'confirmPassword'>
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record'>
}

/** What administrators do with their own account. */
export function adminMeBiz({ db, log, administrators, invitations, factors, sessions, audit }: Needs) {
  async function get({ id, sessionId, permissions, lacks, provenUntilMs }: AdminIdentity): Promise<Me> {
    const [administrator, secondFactor] = await Promise.all([administrators.get(id), factors.find(id)])
    return {
      ...{ administrator, permissions: [...permissions].toSorted(), sessionId, provenUntil: toTimestamp(provenUntilMs) },
      ...(lacks && { lacks }),
      ...(secondFactor && { secondFactor }),
    }
  }

  /**
   * The other sessions end, and codes with which another password could be chosen are void.
   * @throws PasswordWrong, PasswordWeak, ResourceExhausted for whoever guesses, VersionMismatch when it has changed since it was checked
   */
  async function changePassword({ id, username, sessionId }: AdminIdentity, input: PasswordChange, asking: Asking): Promise<void> {
    const entry = entryOn('administrator.set-password', id)
    const { version } = await sessions.confirmPassword(username, input.currentPassword, asking, entry)
    const passwordHash = await administrators.hashPassword(username, input.password)
    const object = subjectOf('admin', id)
    await db.tx(async tx => {
      await administrators.setPassword(tx, id, passwordHash, { versions: [version] })
      await invitations.removeAll(tx, id)
      await audit.record(tx, askedBy(asking), entry)
      await administrators.tell(tx, id, { endsSessions: true, except: sessionId })
    })
    log.info('an administrator has changed their password', { ...askedBy(asking), object })
  }

  /** @throws PasswordWrong, SetUpAlready, ResourceExhausted for whoever guesses */
  async function beginSecondFactor(me: AdminIdentity, { currentPassword }: SetUp, asking: Asking) {
    await sessions.confirmPassword(me.username, currentPassword, asking, entryOn('administrator.set-second-factor', me.id))
    return factors.begin(me)
  }

  const { confirm: confirmSecondFactor, renewCodes, remove: removeSecondFactor } = factors
  return { get, changePassword, beginSecondFactor, confirmSecondFactor, renewCodes, removeSecondFactor }
}
