import type { Database } from '@/core/database'
import { isUuid } from '@/core/schema'
import { createStore, type Store } from '@/core/store'
import { userMessages, type UserRow, type UserTable, users } from './schema'

export interface UserStore extends Store<UserTable> {
  /** As it is now, and stays until the end of the transaction; undefined when it is gone. */
  locked(id: string): Promise<LockedUser | undefined>
}
export type LockedUser = Pick<UserRow, 'username' | 'email' | 'status' | 'version'> & { isVerified: boolean }

const primary = { from: 'primary' } as const

export const userStore = (db: Database): UserStore => ({
  ...createStore(db, users),
  async locked(id) {
    // The column takes no other characters than those of an id.
    if (!isUuid(id)) return undefined
    const columns = '"username", "email", "status", "version", "emailVerifiedAt" is not null as "isVerified"'
    const row = await db.first(`select ${columns} from "user" where "id" = ?${db.dialect.forUpdate}`, [id], primary)
    if (!row) return undefined
    const status = row['status'] === 'active' ? 'active' : 'suspended'
    const names = { username: String(row['username']), email: String(row['email']) }
    return { ...names, status, version: Number(row['version']), isVerified: Number(row['isVerified']) === 1 }
  },
})

export const userMessageStore = (db: Database): Store<typeof userMessages> => createStore(db, userMessages)
