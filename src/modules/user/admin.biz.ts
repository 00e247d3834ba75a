import { randomBytes } from 'node:crypto'
import { canonicalName } from '@/core/account-name'
import type { Database } from '@/core/database'
import type { Ports } from '@/core/ports'
import { isUuid, type PageQuery } from '@/core/schema'
import type { NewRow, Where } from '@/core/store'
import type { UserMail } from './mail.biz'
import { type Account, type NewUser, type Purpose, sendEmail, type User, userErrors, type UserRow } from './schema'
import type { UserStore } from './store'
import { accountView } from './views'

/** An account that is not there yet. */
export type Invitation = Pick<NewRow<UserRow>, 'username' | 'email' | 'nickname' | 'passwordHash'>

/** Which accounts an administrator asks for. */
export interface AccountQuery extends PageQuery {
  status?: User['status']
  /** What a username begins with; with an @ in it, an address; or a whole id. */
  search?: string
}

/** What administrators do with accounts, of which they choose no password. What takes a `tx` is part of a larger change. */
export function administeredBiz({
  db,
  passwords,
  queue,
  users,
  mail,
}: Pick<Ports, 'db' | 'passwords' | 'queue'> & { users: (db: Database) => UserStore; mail: Pick<UserMail, 'count'> }) {
  /** The newest first; in the order of what is searched by, where something is. */
  async function listAccounts({ status, search = '', ...page }: AccountQuery) {
    const { where, orderBy } = searched(canonicalName(search))
    const { items, nextPageToken } = await users(db).list({ ...page, where: { ...where, ...(status && { status }) }, orderBy })
    return { items: items.map(accountView), nextPageToken }
  }

  /**
   * What `invite` makes an account of. Takes long, so not inside a transaction. The password is one that nobody knows, so that nobody can tell
   * by the time that a log-in takes who has not chosen one yet.
   * @throws UsernameTaken, EmailTaken
   */
  async function invitation(input: NewUser): Promise<Invitation> {
    const [username, email] = [canonicalName(input.username), canonicalName(input.email)]
    await users(db).refuseTaken({ username, email })
    const passwordHash = await passwords.hash(randomBytes(32).toString('base64url'))
    return { ...(input.nickname !== undefined && { nickname: input.nickname }), username, email, passwordHash }
  }

  /** Its owner is sent a code to choose a password with. @throws UsernameTaken, EmailTaken */
  const invite = async (tx: Database, invitation: Invitation): Promise<Account> => accountView(await add(tx, invitation, 'invitation'))

  /**
   * Has somebody sent a code to choose a password with, as they can themselves.
   * @throws UserNotFound, Suspended, MessageOften
   */
  async function sendReset(tx: Database, id: string): Promise<void> {
    const row = await users(tx).locked(id)
    if (!row) throw userErrors.UserNotFound()
    if (row.status !== 'active') throw userErrors.Suspended()
    const waitMs = await mail.count(tx, id, 'resetPassword')
    if (waitMs > 0) throw userErrors.MessageOften({ retryAfterSeconds: Math.ceil(waitMs / 1000) })
    await queue.enqueue(sendEmail, { userId: id, purpose: 'resetPassword' }, { tx })
  }

  async function add(tx: Database, account: Omit<NewRow<UserRow>, 'status'>, purpose: Purpose): Promise<UserRow> {
    const made = await users(tx).create({ ...account, status: 'active' })
    await queue.enqueue(sendEmail, { userId: made.id, purpose }, { tx })
    return made
  }

  return { listAccounts, invitation, invite, sendReset, add }
}

/** Each by an index, and in its order: however many users there are, a page of those that match is read and no more. */
function searched(text: string): { where: Where<UserRow>; orderBy: string } {
  if (text === '') return { where: {}, orderBy: 'createdAt desc' }
  if (isUuid(text)) return { where: { id: text }, orderBy: 'createdAt desc' }
  return text.includes('@')
    ? { where: { email: { prefix: text } }, orderBy: 'email' }
    : { where: { username: { prefix: text } }, orderBy: 'username' }
}
