import { afterAll } from 'bun:test'
import type { Migration } from '@/core/migration'
import type { AnyTable } from '@/core/table'
import { replay } from '@/infra/database/migrate/recorded'
import { migrationSource } from '@/infra/database/migrate/source'
import { openBacking } from './backings'
import { temporaryFolder } from './bingo'
import { openAgain } from './conformance/fixture'

export interface MadeMigration {
  /** Undefined when the tables are as declared. */
  migration: Migration | undefined
  text: string
  remarks: string[]
}

/** Makes migrations as `bun run make:migration` does, and loads them. Its files are gone after the tests. */
export function migrationMaker(): (before: readonly Migration[], id: string, declared: readonly AnyTable[]) => Promise<MadeMigration> {
  const folder = temporaryFolder()
  afterAll(() => folder[Symbol.dispose]())
  return async (before, id, declared) => {
    const backing = await openBacking('sqlite')
    if (!backing) throw new Error('SQLite is always there')
    const db = await openAgain(backing)
    const { differences } = await replay(db, before, declared)
    await db.close()
    await backing.dispose()
    if (differences.length === 0) return { migration: undefined, text: '', remarks: [] }
    const { text, remarks } = migrationSource(id, differences)
    const file = `${folder.path}/${id}-${crypto.randomUUID()}.ts`
    await Bun.write(file, text)
    const { migration } = (await import(file)) as { migration: Migration }
    return { migration, text, remarks }
  }
}
