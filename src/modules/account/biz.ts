import { askedBy, type Asking } from '@/core/asking'
import type { Database } from '@/core/database'
import { subjectOf, type UserIdentity } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { giveUp, type TaskResult } from '@/core/queue/task'
import type { Expected } from '@/core/store'
import { userLogIn } from '@/core/throttle'
import type { ApiKeyBiz } from '@/modules/api-key'
import type { SessionBiz } from '@/modules/session'
import type { Account, UserBiz } from '@/modules/user'
import { codeErrors, type UserCodeBiz } from '@/modules/user-code'
import { type CodeInput, type PasswordChange, type Reset, type ResetRequest, startReset, type StartReset } from './schema'

export type AccountBiz = ReturnType<typeof accountBiz>

const realm = 'api'
/** The welcome and a change of the address bring a code, too: for so long after them another would be mail that nobody needs. */
const resendAfterMs = 60_000
/** What addresses in payloads are encrypted for. */
const sealOf = 'account.startReset'

interface Neighbors {
  users: UserBiz
  codes: Pick<UserCodeBiz, 'check' | 'spend' | 'isRecent' | 'removeAll'>
  sessions: Pick<SessionBiz, 'endAll'>
  keys: Pick<ApiKeyBiz, 'removeAll'>
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
      const account = await users.setStatus(tx, id, 'suspended')
      await endAll(tx, id)
      return account
    })
    log.info('a user was suspended', { ...askedBy(asking), object: subjectOf('user', id) })
    return suspended
  }

  async function restore(id: string, asking: Asking): Promise<Account> {
    const restored = await db.tx(async tx => {
      const account = await users.setStatus(tx, id, 'active')
      await revocations.forget(tx, [subjectOf('user', id)])
      return account
    })
    log.info('a user was restored', { ...askedBy(asking), object: subjectOf('user', id) })
    return restored
  }

  /** With all that is theirs. @param expected the versions that the caller has seen */
  async function remove(id: string, expected: Expected, asking: Asking): Promise<void> {
    await db.tx(async tx => {
      await users.remove(tx, id, expected)
      await codes.removeAll(tx, id)
      await keys.removeAll(tx, id)
      await endAll(tx, id)
    })
    log.info('a user was deleted', { ...askedBy(asking), object: subjectOf('user', id) })
  }

  /** Comes last: transactions that tell the other processes wait for each other from there on. */
  async function endAll(tx: Database, id: string): Promise<void> {
    await sessions.endAll(tx, realm, id)
    await revocations.forget(tx, [subjectOf('user', id)])
  }

  const ofAddresses = { requestVerification, verifyEmail }
  const ofPasswords = { changePassword, requestReset, beginReset, reset }
  return { get: users.getAccount, list: users.listAccounts, ...ofAddresses, ...ofPasswords, suspend, restore, remove }
}
