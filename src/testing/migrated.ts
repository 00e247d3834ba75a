import { afterAll, beforeAll, beforeEach } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import type { Backing } from './backings'
import { openAgain } from './conformance/fixture'

const setUpTimeoutMs = 60_000

/**
 * A database with all tables, for the suite around: `scene.db` and its `scene.backing` are there once its tests run.
 * @param emptied tables without a row when a test begins
 */
export function useMigrated(open: () => Promise<Backing>, emptied: readonly string[] = []): { db: OpenDatabase; backing: Backing } {
  const scene = {} as { db: OpenDatabase; backing: Backing }
  beforeAll(async () => {
    scene.backing = await open()
    scene.db = await openAgain(scene.backing)
    await migrateUp(scene.db, migrations)
  }, setUpTimeoutMs)
  afterAll(async () => {
    await scene.db.close()
    await scene.backing.dispose()
  })
  beforeEach(async () => {
    for (const table of emptied) await scene.db.run(`delete from "${table}"`)
  })
  return scene
}
