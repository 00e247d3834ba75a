import { afterAll, beforeAll, beforeEach } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import type { Backing } from './backings'
import { openAgain } from './conformance/fixture'

const setUpTimeoutMs = 60_000

/**
 * A database with all tables, for the suite around: `scene.db` is there once its tests run.
 * @param emptied tables without a row when a test begins
 */
export function useMigrated(open: () => Promise<Backing>, emptied: readonly string[] = []): { db: OpenDatabase } {
  const scene = {} as { db: OpenDatabase }
  let backing: Backing
  beforeAll(async () => {
    backing = await open()
    scene.db = await openAgain(backing)
    await migrateUp(scene.db, migrations)
  }, setUpTimeoutMs)
  afterAll(async () => {
    await scene.db.close()
    await backing.dispose()
  })
  beforeEach(async () => {
    for (const table of emptied) await scene.db.run(`delete from "${table}"`)
  })
  return scene
}
