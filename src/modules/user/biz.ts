import type { Ports } from '@/core/ports'
import type { Expected, ListOptions, Patch } from '@/core/store'
import { weakness } from './password-rules'
import { type SignUp, type User, userErrors, type UserPage, type UserPatch, type UserRow, type UserTable } from './schema'
import type { userStore } from './store'

export type UserBiz = ReturnType<typeof userBiz>

/** Accounts: signing up, looking at them, changing and removing them. */
export function userBiz({ db, users, passwords }: Pick<Ports, 'db' | 'passwords'> & { users: typeof userStore }) {
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
    return view(await users(db).create({ username, email, ...nickname, passwordHash, status: 'active' }))
  }

  async function get(id: string): Promise<User> {
    return view(found(await users(db).get(id)))
  }

  async function list(options: ListOptions<UserTable>): Promise<UserPage> {
    const { items, nextPageToken } = await users(db).list({ ...options, orderBy: options.orderBy || 'createdAt desc' })
    return { items: items.map(view), nextPageToken }
  }

  /** @param expected the versions that the caller has seen */
  async function change(id: string, input: UserPatch, expected: Expected): Promise<User> {
    const patch: Patch<UserRow> = input.email === undefined ? input : { ...input, email: canonical(input.email) }
    return view(found(await users(db).update(id, patch, expected)))
  }

  async function remove(id: string, expected: Expected): Promise<void> {
    if (!(await users(db).delete(id, expected))) throw userErrors.UserNotFound()
  }

  return { signUp, get, list, change, remove }
}

/** One spelling for one account. Both are ASCII by their schemas, so lower case means the same everywhere. */
const canonical = (name: string) => name.trim().toLowerCase()

function found(row: UserRow | undefined): UserRow {
  if (!row) throw userErrors.UserNotFound()
  return row
}

function view({ id, username, email, nickname, status, createdAt, updatedAt, version }: UserRow): User {
  const shown = { id, username, email, status, createdAt, updatedAt, version }
  return nickname === undefined ? shown : { ...shown, nickname }
}
