import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { userExportChunks, userExports } from './schema'

export const userExportStore = (db: Database): Store<typeof userExports> => createStore(db, userExports)
export const userExportChunkStore = (db: Database): Store<typeof userExportChunks> => createStore(db, userExportChunks)
