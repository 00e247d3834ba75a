import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { chatLinkCodes, chatLinks } from './schema'

/** CRUD comes from the tables; what CRUD cannot say would stand here. */
export const chatLinkStore = (db: Database): Store<typeof chatLinks> => createStore(db, chatLinks)
export const chatLinkCodeStore = (db: Database): Store<typeof chatLinkCodes> => createStore(db, chatLinkCodes)
