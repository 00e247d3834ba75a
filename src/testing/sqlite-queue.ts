import { Database as SqliteFile } from 'bun:sqlite'
import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import type { NewTask, QueueDriver } from '@/infra/queue/driver'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { migrations } from '@/migrations'
import { temporaryFolder } from './bingo'
import { openAgain } from './conformance/fixture'
import { fakeLog, fakeMetrics } from './fakes'

/** A queue on a file of its own, and what else may be done to that file. */
export interface QueueFile {
  path: string
  db: OpenDatabase
  queue: QueueDriver
  /** A connection of another process, as far as SQLite can tell. */
  raw: SqliteFile
  close(): Promise<void>
}

export interface Clocks {
  clock: Clock
  monotonicMs: () => number
}

/** @param path of a file that is there, or is made; in a folder that is gone afterwards when absent */
export async function openQueueFile(path?: string, limits: Partial<Config['database']> = {}, clocks?: Clocks): Promise<QueueFile> {
  const folder = path === undefined ? temporaryFolder() : undefined
  const file = path ?? `${folder?.path}/queue.db`
  const db = await openAgain({ url: `sqlite:${file}` }, limits)
  await migrateUp(db, migrations)
  const queue = openSqliteQueue({ db, log: fakeLog(), metrics: fakeMetrics(), ...clocks })
  const raw = new SqliteFile(file)
  return {
    path: file,
    db,
    queue,
    raw,
    async close() {
      await queue.close()
      raw.close()
      await db.close()
      folder?.[Symbol.dispose]()
    },
  }
}

let count = 0
export const newTask = (over: Partial<NewTask> = {}): NewTask => ({
  ...{ id: `task-${process.pid}-${++count}`, isIdKept: false, priority: 5, delayMs: 0, envelope: '["test.do",1,{}]' },
  ...over,
})

export const newClaim = (count: number, leaseMs = 60_000) => ({
  ...{ worker: `test:${process.pid}`, nonce: crypto.randomUUID().slice(-16), count, leaseMs },
})

/** As what a process of its own works, until it is killed or nothing is left: prints the id of each task that is its. */
if (import.meta.main) {
  const [path = '', work] = process.argv.slice(2)
  const { queue } = await openQueueFile(path)
  await (work === 'drain' ? drain(queue) : enqueueForEver(queue))
  process.exit()
}

async function drain(queue: QueueDriver): Promise<void> {
  for (;;) {
    const claim = newClaim(7)
    const { claimed } = await queue.exchange('default', { claim })
    if (claimed.length === 0) return
    for (const { id } of claimed) console.log(id)
    const { finished } = await queue.exchange('default', {
      finish: claimed.map(({ id, attempt }) => ({ id, attempt, nonce: claim.nonce, outcome: 'done' })),
    })
    for (const status of finished) if (status !== 'ok') console.log(`a finish was ${status}`)
  }
}

/** Says of each task that it was enqueued as soon as that is promised. */
async function enqueueForEver(queue: QueueDriver): Promise<never> {
  const one = async () => {
    for (;;) {
      const [reply] = await queue.enqueue('default', [newTask()])
      console.log(reply?.id)
    }
  }
  await Promise.all(Array.from({ length: 16 }, one))
  throw new Error('it ends when it is killed')
}
