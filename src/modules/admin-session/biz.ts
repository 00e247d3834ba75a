import { type Asking, askedBy } from '@/core/asking'
import { type AuditEntry, type AuditLog, entryOn } from '@/core/audit'
import { toTimestamp } from '@/core/clock'
import type { AppError } from '@/core/error'
import { type AdminIdentity, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { notingRefusals } from '@/core/refusal'
import { adminLogIn } from '@/core/throttle'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import type { SecondFactorBiz } from '@/modules/second-factor'
import { type Device, realmSessions, type SessionBiz } from '@/modules/session'
import { adminSessionErrors, type LogIn, type Proof, type Proven } from './schema'
import { adminSessionWitness, witnessAudits } from './witness.biz'

/** What it writes into the audit log. */
export const sessionAudits = [
  ...witnessAudits,
  'admin-session.prove',
  // Those that need the password.
  'administrator.set-password',
  'administrator.set-second-factor',
] as const
type SessionEntry = AuditEntry<(typeof sessionAudits)[number]>

export type AdminSessionBiz = ReturnType<typeof adminSessionBiz>

/** An administrator as far as logging in is concerned: the second factor is a part of who it is. */
interface Guarded extends Pick<Administrator, 'id' | 'status'> {
  administrator: Administrator
  factorId: string | undefined
  version: string
}

type Needs = Pick<Ports, 'db' | 'log' | 'throttle' | 'settings'> & {
  administrators: Pick<AdministratorBiz, 'verifyPassword' | 'current' | 'idNamed'>
  factors: Pick<SecondFactorBiz, 'idOf' | 'prove' | 'demand'>
  sessions: SessionBiz
  audit: AuditLog<(typeof sessionAudits)[number]>
}

const realm = 'admin'

/**
 * Administrators log in to the admin server with their password and, when they have set up a second factor, a code. They stay logged in
 * by refreshing, prove again who they are when it matters, and log out.
 */
export function adminSessionBiz({ db, log, throttle, settings, administrators, factors, sessions, audit }: Needs) {
  const guarded = async (administrator: Administrator): Promise<Guarded> => {
    const { id, status, version } = administrator
    const factorId = await factors.idOf(id)
    // Whoever sets one up while somebody logs in with the password alone keeps them out.
    return { id, status, administrator, factorId, version: `${version} ${factorId ?? ''}` }
  }

  const { refusing, ...witness } = adminSessionWitness({ audit, administrators })

  const { logIn: begin, ...rest } = realmSessions<Guarded>({
    ...{ log, sessions, realm, noun: 'an administrator', suspended: adminSessionErrors.AdministratorSuspended },
    witness: { ...witness, begun: ({ administrator }, sessionId, device) => witness.begun(administrator, sessionId, device) },
    async current(id) {
      const administrator = await administrators.current(id)
      return administrator && guarded(administrator)
    },
    identityOf({ id, administrator: { username, permissions }, factorId }, { sessionId, provenAtMs }): AdminIdentity {
      const provenUntilMs = provenAtMs + settings.admin.provenMs
      const known = { kind: 'admin', id, sessionId, username, provenUntilMs } as const
      const isLacking = settings.admin.secondFactor === 'required' && factorId === undefined
      return isLacking ? { ...known, permissions: new Set(), lacks: 'secondFactor' } : { ...known, permissions: new Set(permissions) }
    },
    // Who changes a role drops all that have it.
    subjectsOf: ({ administrator }) => administrator.roles.map(({ id }) => subjectOf('adminRole', id)),
  })

  const passwordGuess = (username: string, { address }: Pick<Device, 'address'>) => ({
    purpose: adminLogIn,
    account: username,
    address,
  })

  /**
   * @throws LogInRefused, the same and in the same time for an administrator that does not exist. To whoever knows the password alone:
   * AdministratorSuspended, CodeNeeded, CodeWrong, CodesBlocked. ResourceExhausted while it is too early
   */
  async function logIn({ username, password, code }: LogIn, device: Device) {
    // A code is good once, and the password may be asked for again.
    let provenBy: string | undefined
    const prove = async (): Promise<Guarded | undefined> => {
      const known = await throttle.guess(passwordGuess(username, device), () => administrators.verifyPassword(username, password))
      const account = known && (await guarded(known))
      if (account?.status !== 'active' || account.factorId === provenBy) return account
      if (code === undefined) throw refused(adminSessionErrors.CodeNeeded(problems('is needed, too')), device)
      const outcome = await factors.prove(account.id, code, device.address)
      if (outcome === 'blocked') throw refused(adminSessionErrors.CodesBlocked(), device)
      if (outcome === 'wrong') throw refused(adminSessionErrors.CodeWrong(problems('is wrong, or was used before')), device)
      provenBy = account.factorId
      return account
    }
    const { account, tokens } = await refusing(username, device, begin(prove, device))
    return { tokens, administrator: account.administrator }
  }

  function refused(error: AppError, { address }: Device): AppError {
    log.info('a log-in was refused', { realm, reason: error.code, address })
    return error
  }

  /**
   * For operations that need to know who it is just now: whoever has found a session open does not know it.
   * @throws ProofNeeded, PasswordWrong, CodeWrong, CodesBlocked; ResourceExhausted while it is too early
   */
  async function prove({ id, username, sessionId }: AdminIdentity, given: Proof, asking: Asking): Promise<Proven> {
    const entry = entryOn('admin-session.prove', sessionId)
    if (await factors.idOf(id)) {
      if (given.code === undefined) throw adminSessionErrors.ProofNeeded(problems('is needed'))
      await factors.demand(id, given.code, asking, entry)
    } else {
      if (given.password === undefined) throw adminSessionErrors.ProofNeeded(problems('is needed', '/password'))
      await confirmPassword(username, given.password, asking, entry, '/password')
    }
    const provenAtMs = await db.tx(async tx => {
      await audit.record(tx, askedBy(asking), entry)
      return sessions.prove(tx, realm, id, sessionId)
    })
    log.info('an administrator has proven who they are', askedBy(asking))
    return { provenUntil: toTimestamp(provenAtMs + settings.admin.provenMs) }
  }

  /**
   * As a guess at a log-in; one that is refused is in the audit log.
   * @param entry what the password is needed for
   * @returns the administrator as they are, for whoever changes something of them
   * @throws PasswordWrong; ResourceExhausted while it is too early
   */
  const confirmPassword = (username: string, password: string, asking: Asking, entry: SessionEntry, pointer = '/currentPassword') =>
    notingRefusals(audit, askedBy(asking), entry, async () => {
      const found = await throttle.guess(passwordGuess(username, asking), () => administrators.verifyPassword(username, password))
      if (!found) throw adminSessionErrors.PasswordWrong(problems('is not the current password', pointer))
      return found
    })

  return { logIn, prove, confirmPassword, ...rest }
}

const problems = (detail: string, pointer = '/code') => ({ problems: [{ pointer, detail }] })
