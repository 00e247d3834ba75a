import { canonicalName } from '@/core/account-name'
import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { askedBy, type Asking } from '@/core/asking'
import { type Identity, subjectOf } from '@/core/identity'
import { refuseWeak, weakness } from '@/core/password-rules'
import { renewHash } from '@/core/passwords'
import type { Ports } from '@/core/ports'
import { isUuid } from '@/core/schema'
import { type Expected, type ListOptions, storeErrors } from '@/core/store'
import { codeErrors, type UserCodeBiz } from '@/modules/user-code'
import { administeredBiz } from './admin.biz'
import { userMail } from './mail.biz'
import {
  type Account,
  isUsername,
  sendEmail,
  type SignUp,
  type User,
  userErrors,
  type UserPage,
  type UserPatch,
  type UserRow,
  type UserTable,
} from './schema'
import type { userMessageStore, UserStore } from './store'
import { accountView, shown, view } from './views'

export type UserBiz = ReturnType<typeof userBiz>

type Needed = 'db' | 'clock' | 'log' | 'passwords' | 'queue' | 'mailer' | 'cipher' | 'throttle' | 'settings' | 'liveSettings'

/**
 * Accounts: signing up, looking at them, changing and removing them. What takes a `tx` is part of a larger change, which ends sessions
 * and keys, too: see the module account.
 */
export function userBiz({
  db,
  clock,
  log,
  users,
  sent,
  codes,
  passwords,
  queue,
  mailer,
  cipher,
  throttle,
  settings,
  liveSettings,
}: Pick<Ports, Needed> & { users: (db: Database) => UserStore; sent: typeof userMessageStore; codes: Pick<UserCodeBiz, 'mint'> }) {
  const primary = { from: 'primary' } as const
  const mail = userMail({ db, clock, queue, mailer, cipher, settings, users, sent, codes })
  const { add, ...ofAdministrators } = administeredBiz({ db, passwords, queue, users, mail })

  async function signUp(input: SignUp): Promise<User> {
    if (liveSettings.now().signUp === 'closed') throw userErrors.SignUpClosed()
    const username = canonicalName(input.username)
    const email = canonicalName(input.email)
    refuseWeak(weakness(input.password, { username, email }))
    // A name that is taken is refused before the costly part.
    await users(db).refuseTaken({ username, email })
    // Hashed before any transaction: it takes long, and would hold the only writer of SQLite.
    const passwordHash = await passwords.hash(input.password)
    const nickname = input.nickname === undefined ? {} : { nickname: input.nickname }
    return db.tx(async tx => view(await add(tx, { username, email, ...nickname, passwordHash }, 'welcome')))
  }

  /**
   * Whose password it is, suspended or not: what that means says the caller. It takes as long for an account that there is not, and counts
   * nothing: guesses are slowed down by whoever takes them.
   * @param login a username or an e-mail address
   * @throws Unavailable when too many passwords are being checked
   */
  async function verifyPassword(login: string, password: string): Promise<User | undefined> {
    const name = canonicalName(login)
    // From the primary, where a new password holds at once. No username has an @.
    const row = await users(db).find(name.includes('@') ? { email: name } : { username: name }, { from: 'primary' })
    const isRight = await passwords.verify(password, row?.passwordHash)
    if (!row || !isRight) return undefined
    await renewHash(passwords, users(db), row, password)
    return view(row)
  }

  async function get(id: string): Promise<User> {
    return view(found(await users(db).get(id)))
  }

  /** Whoever has this username, in any case. */
  async function getByUsername(username: string): Promise<User> {
    const name = canonicalName(username)
    // Nobody's, whatever databases make of the rest of Unicode.
    return view(found(isUsername(name) ? await users(db).find({ username: name }) : undefined))
  }

  /**
   * In the order of the ids, each once; those that are nobody's are missing.
   * @param ids 1–100
   * @throws IdsWrong
   */
  async function getMany(ids: readonly string[]): Promise<{ users: User[]; missingIds: string[] }> {
    if (ids.length === 0 || ids.length > idsMax || ids.some(id => id.length > idLengthMax)) throw userErrors.IdsWrong()
    const wanted = [...new Set(ids)]
    const rows = await users(db).getMany(wanted)
    const known = new Set(rows.map(({ id }) => id))
    return { users: rows.map(view), missingIds: wanted.filter(id => !known.has(id)) }
  }

  /** As the account is at this moment, whatever copies and replicas say; undefined when it is gone. */
  async function current(id: string): Promise<Account | undefined> {
    const row = await users(db).get(id, primary)
    return row && accountView(row)
  }

  async function list(options: ListOptions<UserTable>): Promise<UserPage> {
    const { items, nextPageToken } = await users(db).list({ ...options, orderBy: options.orderBy || 'createdAt desc' })
    return { items: items.map(view), nextPageToken }
  }

  /**
   * For going over all of them, a page at a time: by id, which is about by age.
   * @param options at most `limit`, 1–1,000, behind the id `after`
   */
  async function listById({ after, status, limit }: { after?: string; status?: User['status']; limit: number }): Promise<User[]> {
    const where = { ...(after !== undefined && { id: { gt: after } }), ...(status && { status }) }
    const found: User[] = []
    for await (const row of users(db).iterate({ where, batchSize: limit, select: shown })) {
      found.push(view(row))
      if (found.length === limit) break
    }
    return found
  }

  /**
   * All of them, by id, which is about by age: a few at a time are in memory, however slowly they are taken.
   * @param options behind the id `after`; until `signal` aborts
   * @throws AfterWrong
   */
  async function* each({ status, after, signal }: Each): AsyncGenerator<User> {
    if (after !== undefined && !isUuid(after)) throw userErrors.AfterWrong()
    const where = { ...(after !== undefined && { id: { gt: after } }), ...(status && { status }) }
    for await (const row of users(db).iterate({ where, batchSize: eachBatch, select: shown })) {
      if (signal.aborted) return
      yield view(row)
    }
  }

  const count = ({ status }: { status?: User['status'] }): Promise<number> => users(db).count(status ? { status } : {})

  /** With what only the user and administrators see. */
  async function getAccount(id: string): Promise<Account> {
    return accountView(found(await users(db).get(id)))
  }

  /** Whom an address belongs to, as the primary says it. */
  async function findByEmail(email: string): Promise<Account | undefined> {
    const row = await users(db).find({ email: canonicalName(email) }, primary)
    return row && accountView(row)
  }

  /**
   * Another e-mail address is not verified, and the one before is told, if that was; it takes the password, so that a stolen token does not
   * become an account (OWASP ASVS 5.0, 7.5.1), and the key of a service cannot do it at all: with the address goes the account.
   * @param expected the versions that the caller has seen
   * @throws PasswordWrong, EmailNotYours, EmailChangedOften, VersionMismatch, Contended when it has changed since the password was checked
   */
  async function change(id: string, { currentPassword, ...input }: UserPatch, expected: Expected, asking: Asking): Promise<User> {
    const row = input.email === undefined ? undefined : found(await users(db).get(id, primary))
    const email = input.email === undefined ? undefined : canonicalName(input.email)
    if (!row || !email || row.email === email) {
      const patch = { ...input, ...(email !== undefined && { email }) }
      const changed = found(await users(db).update(id, patch, expected))
      // Whose it is needs no line; what somebody else does with it does.
      if (isService(asking.identity))
        log.info('a user was changed by the key of a service', {
          ...askedBy(asking),
          object: subjectOf('user', id),
          changed: Object.keys(input),
        })
      return view(changed)
    }
    if (isService(asking.identity)) throw userErrors.EmailNotYours()
    const confirmed = await confirmPassword(id, currentPassword, asking.address)
    if (expected.versions && !expected.versions.includes(confirmed.version)) throw storeErrors.VersionMismatch()
    const changed = await db.tx(async tx => {
      const before = await hold(tx, confirmed)
      const waitMs = await mail.count(tx, id, 'emailChanged')
      if (waitMs > 0) throw userErrors.EmailChangedOften({ retryAfterSeconds: Math.ceil(waitMs / 1000) })
      const row = found(await users(tx).update(id, { ...input, email, emailVerifiedAt: null }))
      // What is not verified may be anybody's.
      if (before.isVerified) await mail.notifyAt(tx, before.email, id, 'emailChanged')
      await queue.enqueue(sendEmail, { userId: id, purpose: 'verifyEmail' }, { tx })
      return row
    })
    log.info('a user has changed their e-mail address', { ...askedBy(asking), object: subjectOf('user', id) })
    return view(changed)
  }

  /**
   * Checks the password of somebody who is logged in, who may guess at it only so often.
   * @returns the version of the account that it was right for, for `hold`
   * @throws PasswordNeeded when none is given, PasswordWrong, ResourceExhausted
   */
  async function confirmPassword(id: string, password: string | undefined, address: string): Promise<Confirmed> {
    const problems = (detail: string) => ({ problems: [{ pointer: '/currentPassword', detail }] })
    if (password === undefined) throw userErrors.PasswordNeeded(problems('is needed for this change'))
    const row = await throttle.guess({ purpose: 'password', account: id, address }, async () => {
      const kept = await users(db).get(id, primary)
      return (await passwords.verify(password, kept?.passwordHash)) ? kept : undefined
    })
    if (!row) throw userErrors.PasswordWrong(problems('is not the current password'))
    return { id, version: row.version }
  }

  /**
   * Keeps an account as it is until the end of a transaction, for what was allowed by a password that must still be the one.
   * @throws Contended when it has changed since
   */
  async function hold(tx: Database, { id, version }: Confirmed) {
    const row = await users(tx).locked(id)
    if (!row) throw userErrors.UserNotFound()
    if (row.version !== version) throw storeErrors.Contended()
    return { id, ...row }
  }

  /** Takes long, so not inside a transaction. @throws PasswordWeak, UserNotFound */
  async function hashPassword(id: string, password: string): Promise<string> {
    refuseWeak(weakness(password, found(await users(db).get(id, primary))))
    return passwords.hash(password)
  }

  /** @throws Contended when it has changed since the password before was checked */
  async function setPassword(tx: Database, confirmed: Confirmed, passwordHash: string): Promise<void> {
    const held = await hold(tx, confirmed)
    await users(tx).update(held.id, { passwordHash })
    await mail.notify(tx, held, 'passwordChanged')
  }

  /**
   * For somebody who has shown to read the mail of an address, which must be the user's.
   * @throws CodeInvalid when it is another by now, or the account may not be used
   */
  async function resetPassword(tx: Database, proven: Proven, passwordHash: string): Promise<void> {
    await changeProven(tx, proven, { passwordHash })
    await queue.enqueue(sendEmail, { userId: proven.userId, purpose: 'passwordReset' }, { tx })
  }

  /** Throws like `resetPassword`. */
  const verifyEmail = (tx: Database, proven: Proven): Promise<void> => changeProven(tx, proven, {})

  async function changeProven(tx: Database, { userId, email }: Proven, patch: { passwordHash?: string }): Promise<void> {
    const row = await users(tx).locked(userId)
    if (row?.email !== email || row.status !== 'active') throw codeErrors.CodeInvalid()
    await users(tx).update(userId, { ...patch, ...(!row.isVerified && { emailVerifiedAt: toTimestamp(clock.nowMs()) }) })
  }

  /** Part of a change that also tells who remembers the user, like `remove`. */
  async function setStatus(tx: Database, id: string, status: User['status']): Promise<{ account: Account; was: User['status'] }> {
    const held = await users(tx).locked(id)
    const account = accountView(found(await users(tx).update(id, { status })))
    return { account, was: held?.status ?? account.status }
  }

  /** The address is told, which nobody could be by the id any more. */
  async function remove(tx: Database, id: string, expected: Expected): Promise<Pick<User, 'username' | 'status'>> {
    const row = await users(tx).locked(id)
    if (!row || !(await users(tx).delete(id, expected))) throw userErrors.UserNotFound()
    await mail.forgetAll(tx, id)
    await mail.notifyAt(tx, row.email, id, 'accountDeleted')
    return { username: row.username, status: row.status }
  }

  const reading = { get, getByUsername, getMany, getAccount, current, findByEmail, list, listById, each, count }
  const ofPasswords = { verifyPassword, confirmPassword, hold, hashPassword, setPassword, resetPassword }
  const ofMail = { sendMessage: mail.send, askMessage: mail.ask, notify: mail.notify }
  return { signUp, ...ofAdministrators, ...reading, change, ...ofPasswords, verifyEmail, setStatus, remove, ...ofMail }
}

/** Most users that are asked for by their ids at once. */
const idsMax = 100
/** Longer than any id, and short enough to be said again. */
const idLengthMax = 64

/** Users that are read at once when all are gone over. */
const eachBatch = 200

interface Each {
  status: User['status'] | undefined
  after: string | undefined
  signal: AbortSignal
}

/** What a code has proven: that somebody reads the mail of this address. */
export interface Proven {
  userId: string
  email: string
}
/** An account whose password was right at this version. */
export interface Confirmed {
  id: string
  version: number
}

/** An administrator has made its key, and knows no password of anybody. */
const isService = (identity: Identity) => identity.kind === 'apiKey' && identity.userId === undefined

function found(row: UserRow | undefined): UserRow {
  if (!row) throw userErrors.UserNotFound()
  return row
}
