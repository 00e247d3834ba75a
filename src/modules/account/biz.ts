import { askedBy, type Asking, isOwn } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import type { Database } from '@/core/database'
import { subjectOf, type UserIdentity } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { giveUp, type TaskResult } from '@/core/queue/task'
import type { Expected } from '@/core/store'
import { userLogIn } from '@/core/throttle'
import type { ApiKeyBiz } from '@/modules/api-key'
import type { SessionBiz } from '@/modules/session'
import type { Account, NewUser, UserBiz } from '@/modules/user'
import { codeErrors, type UserCodeBiz } from '@/modules/user-code'
import {
  type AccountDetails,
  type CodeInput,
  type EndedSessions,
  type PasswordChange,
  type Reset,
  type ResetRequest,
  startReset,
  type StartReset,
} from './schema'

/** What it writes into the audit log. */
export const audits = ['user.create', 'user.delete', 'user.end-sessions', 'user.restore', 'user.send-reset', 'user.suspend'] as const

export type AccountBiz = ReturnType<typeof accountBiz>

const realm = 'api'
/** The welcome and a change of the address bring a code, too: for so long after them another would be mail that nobody needs. */
const resendAfterMs = 60_000
/** What addresses in payloads are encrypted for. */
const sealOf = 'account.startReset'

interface Neighbors {
  users: UserBiz
  codes: Pick<UserCodeBiz, 'check' | 'spend' | 'isRecent' | 'removeAll'>
  sessions: Pick<SessionBiz, 'endAll' | 'activity'>
  keys: Pick<ApiKeyBiz, 'removeAll' | 'count'>
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record'>
}

/** What happens to an account as a whole: with its passwords and addresses, its sessions and keys, all of it or nothing. */
export function accountBiz({
  db,
  log,
  queue,
  cipher,
  revocations,
  throttle,
  users,
  codes,
  sessions,
  keys,
  audit,
}: Pick<Ports, 'db' | 'log' | 'queue' | 'cipher' | 'revocations' | 'throttle'> & Neighbors) {
  /**
   * Codes to reset the password are void: whoever changes it may think that somebody has one. API keys go on, since programs have those, and
   * nobody has told them.
   * @throws PasswordWrong, PasswordWeak, ResourceExhausted for whoever guesses, Contended for all but one of several at the same time
   */
  async function changePassword(me: UserIdentity, input: PasswordChange, address: string): Promise<void> {
    const { id, sessionId } = me
    const confirmed = await users.confirmPassword(id, input.currentPassword, address)
    const passwordHash = await users.hashPassword(id, input.password)
    await db.tx(async tx => {
      await users.setPassword(tx, confirmed, passwordHash)
      await codes.removeAll(tx, id, 'resetPassword')
      if (!input.keepOtherSessions) await sessions.endAll(tx, realm, id, { except: sessionId })
    })
    log.info('a user has changed their password', { ...askedBy({ identity: me, address }), object: subjectOf('user', id) })
  }

  /** Sends a code, if the address is not verified yet and has no new one. */
  async function requestVerification(userId: string): Promise<void> {
    const account = await users.current(userId)
    if (!account || account.emailVerifiedAt !== undefined) return
    if (await codes.isRecent({ userId, purpose: 'verifyEmail', email: account.email }, resendAfterMs)) return
    await db.tx(tx => users.askMessage(tx, userId, 'verifyEmail'))
  }

  /**
   * By whoever is logged in only: somebody whose address was given by another must not make it theirs by following a link.
   * @throws CodeInvalid
   */
  async function verifyEmail(userId: string, { code }: CodeInput): Promise<Account> {
    const proven = await codes.check('verifyEmail', code)
    if (proven.userId !== userId) throw codeErrors.CodeInvalid()
    await db.tx(async tx => {
      await users.verifyEmail(tx, proven)
      await codes.spend(tx, proven)
    })
    return users.getAccount(userId)
  }

  /** Looks at nothing, so that it takes as long for an address that nobody has. */
  async function requestReset({ email }: ResetRequest): Promise<void> {
    await queue.enqueue(startReset, { sealedEmail: cipher.close(email, sealOf) })
  }

  async function beginReset({ sealedEmail }: StartReset): Promise<TaskResult | undefined> {
    const email = cipher.open(sealedEmail, sealOf)
    if (email === undefined) return giveUp('the address was encrypted with another auth.key')
    const account = await users.findByEmail(email)
    if (account?.status !== 'active') return undefined
    // Anybody may ask for it, and each code voids the one before, so the pauses grow. An attempt that is made again finds its message sent.
    await db.tx(tx => users.askMessage(tx, account.id, 'resetPassword'))
    return undefined
  }

  /**
   * Whoever has the code reads the mail of the address, which is verified by that. All sessions end, and all API keys
   * are removed, since somebody else may have made them: also whoever signed up with an address of another, before that one came.
   * @throws CodeInvalid, PasswordWeak
   */
  async function reset({ code, password }: Reset, address: string): Promise<void> {
    const proven = await codes.check('resetPassword', code)
    const { userId } = proven
    const passwordHash = await users.hashPassword(userId, password)
    await db.tx(async tx => {
      await users.resetPassword(tx, proven, passwordHash)
      await codes.spend(tx, proven)
      await keys.removeAll(tx, userId)
      await endAll(tx, userId)
    })
    await admit(userId, address)
    // Nobody has logged in; whoever has the code is the user.
    const user = subjectOf('user', userId)
    log.info('a user has reset their password', { actor: user, object: user, address })
  }

  /** To log in from there, though others guess at the account: whoever reads its mail is no guesser. */
  async function admit(userId: string, address: string): Promise<void> {
    const account = await users.current(userId)
    for (const name of account ? [account.username, account.email] : [])
      await throttle.admit({ purpose: userLogIn, account: name, address })
  }

  /** Their sessions end. Their API keys are of no use until they are restored. */
  async function suspend(id: string, asking: Asking): Promise<Account> {
    const suspended = await db.tx(async tx => {
      const { account, was } = await users.setStatus(tx, id, 'suspended')
      await record(tx, 'user.suspend', id, asking, { before: { status: was }, after: { status: 'suspended' } })
      await endAll(tx, id)
      return account
    })
    log.info('a user was suspended', { ...askedBy(asking), object: subjectOf('user', id) })
    return suspended
  }

  async function restore(id: string, asking: Asking): Promise<Account> {
    const restored = await db.tx(async tx => {
      const { account, was } = await users.setStatus(tx, id, 'active')
      await record(tx, 'user.restore', id, asking, { before: { status: was }, after: { status: 'active' } })
      await revocations.forget(tx, [subjectOf('user', id)])
      return account
    })
    log.info('a user was restored', { ...askedBy(asking), object: subjectOf('user', id) })
    return restored
  }

  /**
   * With all that is theirs. What users do with their own accounts is their own business, and not in the audit log.
   * @param expected the versions that the caller has seen
   */
  async function remove(id: string, expected: Expected, asking: Asking): Promise<void> {
    await db.tx(async tx => {
      const before = await users.remove(tx, id, expected)
      await codes.removeAll(tx, id)
      await keys.removeAll(tx, id)
      if (!isOwn(asking, id)) await record(tx, 'user.delete', id, asking, { before })
      await endAll(tx, id)
    })
    log.info('a user was deleted', { ...askedBy(asking), object: subjectOf('user', id) })
  }

  /** By an administrator. Whose it is chooses the password, with the code of a message. @throws UsernameTaken, EmailTaken */
  async function create(input: NewUser, asking: Asking): Promise<Account> {
    const invitation = await users.invitation(input)
    const made = await db.tx(async tx => {
      const account = await users.invite(tx, invitation)
      // No address: an event is kept for longer than the account may be.
      const { id, username } = account
      await record(tx, 'user.create', id, asking, { after: { username } })
      return account
    })
    log.info('a user was made', { ...askedBy(asking), object: subjectOf('user', made.id) })
    return made
  }

  /** Their API keys go on. */
  async function endSessions(id: string, asking: Asking): Promise<EndedSessions> {
    await users.getAccount(id)
    const endedCount = await db.tx(async tx => {
      await record(tx, 'user.end-sessions', id, asking)
      return sessions.endAll(tx, realm, id)
    })
    log.info('the sessions of a user were ended', { ...askedBy(asking), object: subjectOf('user', id), ended: endedCount })
    return { endedCount }
  }

  /** Until the code is used nothing changes. @throws UserNotFound, Suspended, MessageOften */
  async function sendReset(id: string, asking: Asking): Promise<void> {
    await db.tx(async tx => {
      await users.sendReset(tx, id)
      await record(tx, 'user.send-reset', id, asking)
    })
    log.info('a user was sent a code to choose a password with', { ...askedBy(asking), object: subjectOf('user', id) })
  }

  async function show(id: string): Promise<AccountDetails> {
    const [account, { count, lastUsedAt }, apiKeyCount] = await Promise.all([
      users.getAccount(id),
      sessions.activity(realm, id),
      keys.count(id),
    ])
    return { ...account, sessionCount: count, apiKeyCount, ...(lastUsedAt !== undefined && { lastSeenAt: lastUsedAt }) }
  }
  const record = (
    tx: Database,
    action: (typeof audits)[number],
    id: string,
    asking: Asking,
    change: { before?: object; after?: object } = {},
  ): Promise<void> => audit.record(tx, askedBy(asking), { ...entryOn(action, id), ...change })

  /** Comes last: transactions that tell the other processes wait for each other from there on. */
  async function endAll(tx: Database, id: string): Promise<void> {
    await sessions.endAll(tx, realm, id)
    await revocations.forget(tx, [subjectOf('user', id)])
  }

  const ofAddresses = { requestVerification, verifyEmail }
  const ofPasswords = { changePassword, requestReset, beginReset, reset }
  const ofAdministrators = { list: users.listAccounts, show, create, suspend, restore, endSessions, sendReset }
  return { get: users.getAccount, ...ofAddresses, ...ofPasswords, ...ofAdministrators, remove }
}
