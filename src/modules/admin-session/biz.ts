import type { Ports } from '@/core/ports'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import { type Device, realmSessions, type SessionBiz } from '@/modules/session'
import { adminSessionErrors, type LoggedIn, type LogIn } from './schema'

export type AdminSessionBiz = ReturnType<typeof adminSessionBiz>

/** Administrators log in to the admin server with their password, stay logged in by refreshing, and log out. */
export function adminSessionBiz({
  log,
  throttle,
  administrators,
  sessions,
}: Pick<Ports, 'log' | 'throttle'> & { administrators: Pick<AdministratorBiz, 'verifyPassword' | 'current'>; sessions: SessionBiz }) {
  const { logIn: begin, ...rest } = realmSessions<Administrator>({
    ...{ log, sessions, realm: 'admin', noun: 'an administrator', current: administrators.current },
    suspended: adminSessionErrors.AdministratorSuspended,
    identityOf: ({ id, permissions }, sessionId) => ({ kind: 'admin', id, sessionId, permissions: new Set(permissions) }),
  })

  /** @throws LogInRefused; AdministratorSuspended to whoever knows the password */
  async function logIn({ username, password }: LogIn, device: Device): Promise<LoggedIn> {
    const guess = { purpose: 'admin log-in', account: username, address: device.address }
    const prove = () => throttle.guess(guess, () => administrators.verifyPassword(username, password))
    const { account, tokens } = await begin(prove, device)
    return { ...tokens, administrator: account }
  }

  return { logIn, ...rest }
}
