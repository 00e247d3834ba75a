import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { apiKeys } from './schema'

export const apiKeyStore = (db: Database): Store<typeof apiKeys> => createStore(db, apiKeys)
