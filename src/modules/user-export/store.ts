import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { userExportChunks, userExports } from './schema'

export const userExportStore = (db: Database): Store<typeof userExports> => createStore(db, userExports)

export const userExportChunkStore = (db: Database) => ({
  ...createStore(db, userExportChunks),
  /** Ids of exports that are gone, and have chunks all the same. */
  async orphaned(countMax: number): Promise<string[]> {
    // By the index of the unique key, which has each export once, however many chunks it has.
    const sql = `select distinct "exportId" from "userExportChunk" as "c"
      where not exists (select 1 from "userExport" as "e" where "e"."id" = "c"."exportId") limit ${countMax}`
    return (await db.all(sql, [], { from: 'primary' })).map(row => String(row['exportId']))
  },
})
