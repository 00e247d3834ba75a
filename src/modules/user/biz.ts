import { AppError } from '@/core/error'
import type { Ports } from '@/core/ports'
import { giveUp, type TaskResult } from '@/core/queue/task'
import type { Expected, ListOptions, Patch } from '@/core/store'
import { messages } from './messages'
import { weakness } from './password-rules'
import { sendEmail, type SignUp, type User, userErrors, type UserPage, type UserPatch, type UserRow, type UserTable } from './schema'
import type { userStore } from './store'

export type UserBiz = ReturnType<typeof userBiz>

/** Accounts: signing up, looking at them, changing and removing them. */
export function userBiz({
  db,
  users,
  passwords,
  queue,
  mailer,
}: Pick<Ports, 'db' | 'passwords' | 'queue' | 'mailer'> & { users: typeof userStore }) {
  async function signUp(input: SignUp): Promise<User> {
    const username = canonical(input.username)
    const email = canonical(input.email)
    const weak = weakness(input.password, { username, email })
    if (weak) throw userErrors.PasswordWeak({ problems: [{ pointer: '/password', detail: weak }] })
    // A name that is taken is refused before the costly part.
    await users(db).refuseTaken({ username, email })
    // Hashed before any transaction: it takes long, and would hold the only writer of SQLite.
    const passwordHash = await passwords.hash(input.password)
    const nickname = input.nickname === undefined ? {} : { nickname: input.nickname }
    const row = await db.tx(async tx => {
      const made = await users(tx).create({ username, email, ...nickname, passwordHash, status: 'active' })
      await queue.enqueue(sendEmail, { userId: made.id, purpose: 'welcome' }, { tx })
      return made
    })
    return view(row)
  }

  async function get(id: string): Promise<User> {
    return view(found(await users(db).get(id)))
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

  const count = ({ status }: { status?: User['status'] }): Promise<number> => users(db).count(status ? { status } : {})

  /** @param expected the versions that the caller has seen */
  async function change(id: string, input: UserPatch, expected: Expected): Promise<User> {
    const patch: Patch<UserRow> = input.email === undefined ? input : { ...input, email: canonical(input.email) }
    return view(found(await users(db).update(id, patch, expected)))
  }

  async function remove(id: string, expected: Expected): Promise<void> {
    if (!(await users(db).delete(id, expected))) throw userErrors.UserNotFound()
  }

  /**
   * Sends a user a message; one who is gone meanwhile gets none.
   * @param key the same for each attempt at the same message
   */
  async function sendMessage(id: string, purpose: keyof typeof messages, key: string): Promise<TaskResult | undefined> {
    const row = await users(db).get(id, { from: 'primary' })
    if (!row) return undefined
    try {
      await mailer.send({ to: row.email, ...messages[purpose](row), key })
      return undefined
    } catch (thrown) {
      // The server will not take it tomorrow either, and what is no message will be none.
      const isFinal = thrown instanceof AppError && thrown.kind !== 'Unavailable'
      if (isFinal) return giveUp(thrown.message)
      throw thrown
    }
  }

  return { signUp, get, list, listById, count, change, remove, sendMessage }
}

/** One spelling for one account. Both are ASCII by their schemas, so lower case means the same everywhere. */
const canonical = (name: string) => name.trim().toLowerCase()

function found(row: UserRow | undefined): UserRow {
  if (!row) throw userErrors.UserNotFound()
  return row
}

/** What leaves the process of a user. */
const shown = ['id', 'username', 'email', 'nickname', 'status', 'createdAt', 'updatedAt', 'version'] as const

function view({ id, username, email, nickname, status, createdAt, updatedAt, version }: Pick<UserRow, (typeof shown)[number]>): User {
  const shown = { id, username, email, status, createdAt, updatedAt, version }
  return nickname === undefined ? shown : { ...shown, nickname }
}
