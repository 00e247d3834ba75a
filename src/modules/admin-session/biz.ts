import { type Identified, type Identifier, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import type { Device, PageOf, SessionBiz, SessionPage, SessionTokens } from '@/modules/session'
import { adminSessionErrors, type LoggedIn, type LogIn } from './schema'

export type AdminSessionBiz = ReturnType<typeof adminSessionBiz>

const realm = 'admin'
/** So often the password is checked for one log-in: again when the account was changed under it, which seldom happens twice. */
const attemptsMax = 3

/** Administrators log in to the admin server with their password, stay logged in by refreshing, and log out. */
export function adminSessionBiz({
  log,
  throttle,
  administrators,
  sessions,
}: Pick<Ports, 'log' | 'throttle'> & { administrators: Pick<AdministratorBiz, 'verifyPassword' | 'current'>; sessions: SessionBiz }) {
  /**
   * @throws LogInRefused, the same and in the same time for a name that nobody has; AdministratorSuspended to whoever knows the password
   */
  async function logIn({ username, password }: LogIn, device: Device): Promise<LoggedIn> {
    const { address } = device
    const guess = { purpose: 'admin log-in', account: username, address }
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const administrator = await throttle.guess(guess, () => administrators.verifyPassword(username, password))
      if (!administrator) throw refused('wrong')
      if (administrator.status !== 'active') throw refused('suspended')
      const isUnchanged = async () => (await administrators.current(administrator.id))?.version === administrator.version
      const opened = await sessions.openIf(realm, administrator.id, device, isUnchanged)
      if (opened) {
        log.info('an administrator has logged in', { actor: subjectOf('admin', administrator.id), address })
        return { ...opened.tokens, administrator }
      }
    }
    throw refused('changed')

    function refused(reason: 'wrong' | 'suspended' | 'changed') {
      log.info('a log-in was refused', { realm, reason, address })
      return reason === 'suspended' ? adminSessionErrors.AdministratorSuspended() : adminSessionErrors.LogInRefused()
    }
  }

  async function active(id: string): Promise<Administrator | undefined> {
    const administrator = await administrators.current(id)
    return administrator?.status === 'active' ? administrator : undefined
  }

  /** @throws sessionErrors.RefreshTokenInvalid */
  const refresh = async (refreshToken: string, device: Device): Promise<SessionTokens> =>
    (await sessions.refresh(realm, refreshToken, device, async id => (await active(id)) !== undefined)).tokens

  const list = (id: string, current: string, page: PageOf): Promise<SessionPage> => sessions.list(realm, id, current, page)

  /** @throws sessionErrors.SessionNotFound, also for somebody else's */
  async function end(id: string, sessionId: string): Promise<void> {
    await sessions.end(realm, id, sessionId)
    log.info('a session of an administrator was ended', { actor: subjectOf('admin', id) })
  }

  /** Access tokens of the admin server, which are JWTs and nothing else is. */
  const identifier: Identifier = {
    takes: credential => credential.startsWith('eyJ'),
    async identify(credential): Promise<Identified | undefined> {
      const verified = await sessions.verify(realm, credential)
      const administrator = verified && (await active(verified.accountId))
      if (!administrator) return undefined
      const { accountId: id, sessionId, expiresAtMs } = verified
      return {
        identity: { kind: 'admin', id, sessionId, permissions: new Set(administrator.permissions) },
        expiresAtMs,
        subjects: [subjectOf('admin', id), subjectOf('session', sessionId)],
        used: () => void sessions.touch(sessionId),
      }
    },
  }

  return { logIn, refresh, list, end, identifier }
}
