import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { settings, type SettingTable, type StoredSetting } from './schema'

export interface SettingStore extends Store<SettingTable> {
  /** All, as the primary says it; in a transaction they stay so until its end. */
  all(): Promise<StoredSetting[]>
}

/** More than there are. */
const rowsMax = 100

export const settingStore = (db: Database): SettingStore => {
  const store = createStore(db, settings)
  return {
    ...store,
    async all() {
      if (db.inTransaction) await db.all(`select "id" from "setting" limit ${rowsMax}${db.dialect.forUpdate}`)
      return (await store.list({ pageSize: rowsMax, from: 'primary' })).items
    },
  }
}
