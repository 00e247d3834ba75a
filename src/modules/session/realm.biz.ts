import type { Database } from '@/core/database'
import type { AppError } from '@/core/error'
import { type Identified, type Identifier, type Identity, type Subject, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import { looksLikeServiceToken } from '@/core/tokens'
import type { Device, SessionBiz, SessionOf, Verified } from './biz'
import { type Realm, sessionErrors, type SessionPage, type SessionTokens } from './schema'

/** What a realm says of an account. */
interface RealmAccount {
  id: string
  /** Another one with each change. */
  version: number | string
  status: 'active' | 'suspended'
}

/** Whose sessions they are, for `realmSessions`. */
export interface RealmAccounts<A extends RealmAccount> {
  realm: Realm
  /** As log lines say it: `a user`. */
  noun: string
  /** As the account is at this moment; undefined when it is gone. */
  current(id: string): Promise<A | undefined>
  identityOf(account: A, verified: Verified): Extract<Identity, { kind: 'user' | 'admin' }>
  /** What else its callers are forgotten for when it changes, besides account and session. */
  subjectsOf?(account: A): Subject[]
  /** For whoever knows the password of one that may not log in. */
  suspended(): AppError
  witness?: Witness<A>
}

/** Writes down what becomes of sessions. What it cannot write down does not happen. */
export interface Witness<A> {
  /** Asked when the session is there, and before anybody has its tokens. */
  begun(account: A, sessionId: string, device: Device): Promise<void>
  /** @param tx in which the session ends */
  ended(tx: Database, of: SessionOf, device: Device): Promise<void>
  /** The session of a refresh token that was used again, which ends then. */
  stolen(of: SessionOf, device: Device): Promise<void>
}

/** Sessions of the accounts of one realm, who log in, stay logged in by refreshing, and log out. */
export type RealmSessions = ReturnType<typeof realmSessions>

/** So often the password is checked for one log-in: again when the account was changed under it, which seldom happens twice. */
const attemptsMax = 3
const kinds = { api: 'user', admin: 'admin' } as const

export function realmSessions<A extends RealmAccount>({
  log,
  sessions,
  realm,
  noun,
  current,
  identityOf,
  subjectsOf,
  suspended,
  witness,
}: Pick<Ports, 'log'> & { sessions: SessionBiz } & RealmAccounts<A>) {
  const subjectFor = (id: string) => subjectOf(kinds[realm], id)

  /**
   * Begins a session of whoever has proven to be somebody.
   * @param prove whose password it is, suspended or not, as one guess; asked again when the account was changed meanwhile
   * @throws LogInRefused, the same and in the same time for an account that does not exist; what `suspended` makes to whoever knows the
   * password
   */
  async function logIn(prove: () => Promise<A | undefined>, device: Device) {
    const { address } = device
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const account = await prove()
      if (!account) throw refused('wrong')
      if (account.status !== 'active') throw refused('suspended')
      const isUnchanged = async (sessionId: string) => {
        const isSame = (await current(account.id))?.version === account.version
        if (isSame) await witness?.begun(account, sessionId, device)
        return isSame
      }
      const opened = await sessions.openIf(realm, account.id, device, isUnchanged)
      if (opened) {
        log.info(`${noun} has logged in`, { actor: subjectFor(account.id), address })
        return { account, tokens: opened.tokens }
      }
    }
    throw refused('changed')

    function refused(reason: 'wrong' | 'suspended' | 'changed') {
      log.info('a log-in was refused', { realm, reason, address })
      return reason === 'suspended' ? suspended() : sessionErrors.LogInRefused()
    }
  }

  async function active(id: string): Promise<A | undefined> {
    const account = await current(id)
    return account?.status === 'active' ? account : undefined
  }

  /** @throws sessionErrors.RefreshTokenInvalid */
  const refresh = async (refreshToken: string, device: Device): Promise<SessionTokens> =>
    (
      await sessions.refresh(
        realm,
        refreshToken,
        device,
        async id => (await active(id)) !== undefined,
        async of => witness?.stolen(of, device),
      )
    ).tokens

  const list = (id: string, current: string, page: PageQuery): Promise<SessionPage> => sessions.list(realm, id, current, page)

  /** @throws sessionErrors.SessionNotFound, also for somebody else's */
  async function end(id: string, sessionId: string, device: Device): Promise<void> {
    const of = { accountId: id, sessionId }
    await sessions.end(realm, id, sessionId, async tx => witness?.ended(tx, of, device))
    log.info(`a session of ${noun} was ended`, { actor: subjectFor(id) })
  }

  /** Access tokens of the realm's server, which are JWTs, and nothing else is but the tokens of services. */
  const identifier: Identifier = {
    takes: credential => credential.startsWith('eyJ') && !looksLikeServiceToken(credential),
    async identify(credential): Promise<Identified | undefined> {
      const verified = await sessions.verify(realm, credential)
      const account = verified && (await active(verified.accountId))
      if (!account) return undefined
      const { sessionId, expiresAtMs } = verified
      return {
        identity: identityOf(account, verified),
        expiresAtMs,
        subjects: [subjectFor(account.id), subjectOf('session', sessionId), ...(subjectsOf?.(account) ?? [])],
        used: () => void sessions.touch(sessionId),
      }
    },
  }

  return { logIn, refresh, list, end, identifier }
}
