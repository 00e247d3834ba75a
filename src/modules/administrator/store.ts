import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { administrators, invitations } from './schema'

/** CRUD comes from the table; what CRUD cannot say would stand here. */
export const administratorStore = (db: Database): Store<typeof administrators> => createStore(db, administrators)
export const invitationStore = (db: Database): Store<typeof invitations> => createStore(db, invitations)
