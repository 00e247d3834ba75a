import type { Database } from '@/core/database'
import type { Migration } from '@/core/migration'
import { migrateDown, migrateUp } from '@/infra/database/migrate'
import type { Backing } from './backings'
import { openAgain, withTx } from './conformance/fixture'

/** Changes of every sort: those that a server commits by itself, and one of rows, which must be made once. */
export const steps: Migration = {
  id: '0001_steps',
  up: ({ id, text, integer, index, dropIndex, tableOptions }) => [
    `create table "step" ("id" ${id} not null primary key, "n" ${integer} not null, "gone" ${text(10)}) ${tableOptions}`,
    index('step', ['n']),
    `insert into "step" ("id", "n") values ('00000000-0000-0000-0000-000000000000', 0)`,
    `update "step" set "n" = "n" + 1`,
    `alter table "step" add column "more" ${text(10)}`,
    'alter table "step" drop column "gone"',
    dropIndex('step', ['n']),
  ],
  down: ({ index, text }) => [
    index('step', ['n']),
    `alter table "step" add column "gone" ${text(10)}`,
    'alter table "step" drop column "more"',
    `update "step" set "n" = "n" - 1`,
    'drop table "step"',
  ],
}

/** Run as a process: migrates, and is killed at a statement, as it is about to be sent or when its answer has just come. */
if (import.meta.main) {
  const [url = '', direction, at, moment] = process.argv.slice(2)
  const db = await openAgain({ url } as Backing)
  const run = direction === 'up' ? migrateUp : migrateDown
  await run(deadlyAt(db, Number(at), moment === 'after'), [steps])
  console.error('it was not killed')
}

function deadlyAt(db: Database, at: number, isAfter: boolean): Database {
  let count = 0
  const die = () => process.kill(process.pid, 'SIGKILL')
  return withTx(db, tx => ({
    async run(sql, params) {
      if (!/ (table|on|into)? ?"step"/.test(sql) || count++ !== at) return tx.run(sql, params)
      if (!isAfter) die()
      const result = await tx.run(sql, params)
      die()
      return result
    },
  }))
}
