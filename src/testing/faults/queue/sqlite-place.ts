import { systemClock } from '@/core/clock'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { migrations } from '@/migrations'
import { temporaryFolder } from '../../bingo'
import { openAgain } from '../../conformance/fixture'
import { fakeLog, fakeMetrics } from '../../fakes'
import type { Place } from './scene'

/** A file of SQLite of one test alone. */
export interface SqlitePlace extends Place, AsyncDisposable {
  db: OpenDatabase
  /** Of a queue all that is not remembered: the ids of its tasks, dead ones too. */
  leftovers(queue: string): Promise<string[]>
}

export async function openSqlitePlace(): Promise<SqlitePlace> {
  const folder = temporaryFolder()
  const url = `sqlite:${folder.path}/tasks.db`
  const db = await openAgain({ url }, {}, { clock: systemClock })
  await migrateUp(db, migrations)
  const driver = openSqliteQueue({ db, log: fakeLog(), metrics: fakeMetrics() })
  return {
    ...{ db, driver },
    env: { BINGO_DATABASE_URL: url },
    leftovers: async queue => (await db.all('select "id" from "queueTask" where "queue" = ?', [queue])).map(({ id }) => String(id)),
    async [Symbol.asyncDispose]() {
      await driver.close()
      await db.close()
      folder[Symbol.dispose]()
    },
  }
}
