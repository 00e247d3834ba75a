import { type Identified, type Identifier, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { type Throttle, userLogIn } from '@/core/throttle'
import type { Device, PageOf, SessionBiz, SessionPage, SessionTokens } from '@/modules/session'
import type { UserBiz } from '@/modules/user'
import { type LoggedIn, type LogIn, userSessionErrors } from './schema'

export type UserSessionBiz = ReturnType<typeof userSessionBiz>

const realm = 'api'
/** So often the password is checked for one log-in: again when the account was changed under it, which seldom happens twice. */
const attemptsMax = 3

/** Users log in with their password, stay logged in by refreshing, and log out. */
export function userSessionBiz({
  log,
  throttle,
  users,
  sessions,
}: Pick<Ports, 'log'> & { throttle: Pick<Throttle, 'guess'>; users: Pick<UserBiz, 'verifyPassword' | 'current'>; sessions: SessionBiz }) {
  /**
   * @throws LogInRefused, the same and in the same time for an account that does not exist; AccountSuspended to whoever knows the password
   */
  async function logIn({ login, password }: LogIn, device: Device): Promise<LoggedIn> {
    const { address } = device
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const user = await throttle.guess({ purpose: userLogIn, account: login, address }, () => users.verifyPassword(login, password))
      if (!user) throw refused('wrong')
      if (user.status !== 'active') throw refused('suspended')
      const isUnchanged = async () => (await users.current(user.id))?.version === user.version
      const opened = await sessions.openIf(realm, user.id, device, isUnchanged)
      if (opened) {
        log.info('a user has logged in', { actor: subjectOf('user', user.id), address })
        return { ...opened.tokens, user }
      }
    }
    throw refused('changed')

    function refused(reason: 'wrong' | 'suspended' | 'changed') {
      log.info('a log-in was refused', { realm, reason, address })
      return reason === 'suspended' ? userSessionErrors.AccountSuspended() : userSessionErrors.LogInRefused()
    }
  }

  const isActive = async (userId: string): Promise<boolean> => (await users.current(userId))?.status === 'active'

  /** @throws sessionErrors.RefreshTokenInvalid */
  const refresh = async (refreshToken: string, device: Device): Promise<SessionTokens> =>
    (await sessions.refresh(realm, refreshToken, device, isActive)).tokens

  const list = (userId: string, current: string, page: PageOf): Promise<SessionPage> => sessions.list(realm, userId, current, page)

  /** @throws sessionErrors.SessionNotFound, also for somebody else's */
  async function end(userId: string, sessionId: string): Promise<void> {
    await sessions.end(realm, userId, sessionId)
    log.info('a session of a user was ended', { actor: subjectOf('user', userId) })
  }

  /** Access tokens of the API server, which are JWTs and nothing else is. */
  const identifier: Identifier = {
    takes: credential => credential.startsWith('eyJ'),
    async identify(credential): Promise<Identified | undefined> {
      const verified = await sessions.verify(realm, credential)
      if (!verified || !(await isActive(verified.accountId))) return undefined
      const { accountId, sessionId, expiresAtMs } = verified
      return {
        identity: { kind: 'user', id: accountId, sessionId },
        expiresAtMs,
        subjects: [subjectOf('user', accountId), subjectOf('session', sessionId)],
        used: () => void sessions.touch(sessionId),
      }
    },
  }

  return { logIn, refresh, list, end, identifier }
}
