import type { Ports } from '@/core/ports'
import { type Throttle, userLogIn } from '@/core/throttle'
import { type Device, realmSessions, type SessionBiz } from '@/modules/session'
import type { User, UserBiz } from '@/modules/user'
import { type LoggedIn, type LogIn, userSessionErrors } from './schema'

export type UserSessionBiz = ReturnType<typeof userSessionBiz>

/** Users log in with their password, stay logged in by refreshing, and log out. */
export function userSessionBiz({
  log,
  throttle,
  users,
  sessions,
}: Pick<Ports, 'log'> & { throttle: Pick<Throttle, 'guess'>; users: Pick<UserBiz, 'verifyPassword' | 'current'>; sessions: SessionBiz }) {
  const { logIn: begin, ...rest } = realmSessions<User>({
    ...{ log, sessions, realm: 'api', noun: 'a user', current: users.current, suspended: userSessionErrors.AccountSuspended },
    identityOf: ({ id }, { sessionId }) => ({ kind: 'user', id, sessionId }),
  })

  /** @throws LogInRefused; AccountSuspended to whoever knows the password */
  async function logIn({ login, password }: LogIn, device: Device): Promise<LoggedIn> {
    const guess = { purpose: userLogIn, account: login, address: device.address }
    const prove = () => throttle.guess(guess, () => users.verifyPassword(login, password))
    const { account, tokens } = await begin(prove, device)
    return { ...tokens, user: account }
  }

  return { logIn, ...rest }
}
