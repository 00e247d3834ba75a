import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { adminRoles } from './schema'

/** CRUD comes from the table; what CRUD cannot say would stand here. */
export const adminRoleStore = (db: Database): Store<typeof adminRoles> => createStore(db, adminRoles)
