import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { users } from './schema'

/** CRUD comes from the table; what CRUD cannot say would stand here. */
export const userStore = (db: Database): Store<typeof users> => createStore(db, users)
