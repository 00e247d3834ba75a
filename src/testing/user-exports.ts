import { afterAll, beforeAll, beforeEach } from 'bun:test'
import type { Asking } from '@/core/asking'
import type { Database } from '@/core/database'
import type { Download } from '@/core/download'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { userStore } from '@/modules/user/store'
import { userExportBiz } from '@/modules/user-export/biz'
import type { Attempt } from '@/modules/user-export/exporter'
import type { NewUserExport } from '@/modules/user-export/schema'
import { userExportChunkStore, userExportStore } from '@/modules/user-export/store'
import type { Backing } from './backings'
import { openAgain } from './conformance/fixture'
import { accountsOn } from './accounts'
import { fakeAudit, fakeLog, fakeQueue } from './fakes'
import { adminCalled } from './identities'

/** Exports of users on a database of their own, which is empty before each test. */
export function useExports(open: () => Promise<Backing>) {
  const used = {} as { backing: Backing; db: OpenDatabase }
  beforeAll(async () => {
    used.backing = await open()
    used.db = await openAgain(used.backing)
    await migrateUp(used.db, migrations)
  })
  afterAll(async () => {
    await used.db.close()
    await used.backing.dispose()
  })
  beforeEach(async () => {
    for (const table of ['user', 'userExport', 'userExportChunk']) await used.db.run(`delete from "${table}"`)
  })
  return {
    used,
    /** Biz with a clock that a test turns. @param beforeRead runs before each page of users is read */
    setUp: (beforeRead: () => Promise<void> | void = () => {}, db: Database = used.db) => setUp(db, beforeRead),
    addUsers: (count: number, name?: string, status?: 'active' | 'suspended') => addUsers(used.db, count, name, status),
    chunkCount: () => userExportChunkStore(used.db).count(),
  }
}

/** Who asks for exports. */
export const byAdmin: Asking = { identity: adminCalled('root'), address: '192.0.2.1' }

const startMs = Date.parse('2026-01-31T09:05:00.000Z')

export const usersOf = (db: Database) => accountsOn(db).users

function setUp(db: Database, beforeRead: () => Promise<void> | void) {
  const clock = { ms: startMs, nowMs: () => clock.ms }
  const [queue, log, audit, all] = [fakeQueue(), fakeLog(), fakeAudit(), usersOf(db)]
  const reads: (string | undefined)[] = []
  const users = {
    count: all.count,
    async listById(options: Parameters<typeof all.listById>[0]) {
      reads.push(options.after)
      await beforeRead()
      return all.listById(options)
    },
  }
  const biz = userExportBiz({ db, clock, log, queue, users, exports: userExportStore, chunks: userExportChunkStore, audit })
  return {
    ...{ biz, clock, queue, log, audit },
    /** Behind whom each page was read. */
    reads,
    attempt: (over: Partial<Attempt> = {}): Attempt => ({
      ...{ id: 'task-1', failures: 0, signal: new AbortController().signal, progress: () => {} },
      ...over,
    }),
    /** Asks for one and gives the payload of its task. */
    async ask(input: NewUserExport = { format: 'csv' }) {
      const { id } = await biz.request(input, byAdmin)
      return { id, payload: { exportId: id } }
    },
  }
}

/** Users without the costly part of signing up. */
export async function addUsers(db: Database, count: number, name = 'user', status: 'active' | 'suspended' = 'active') {
  const made = []
  for (let i = 0; i < count; i += 1000) {
    const names = Array.from({ length: Math.min(1000, count - i) }, (_, j) => `${name}${i + j}`)
    const rows = names.map(username => ({ username, email: `${username}@example.com`, passwordHash: 'secret', status }))
    made.push(...(await userStore(db).createMany(rows)))
  }
  return made
}

export async function textOf({ pieces }: Download): Promise<string> {
  const read: Uint8Array[] = []
  for await (const piece of pieces) read.push(piece)
  return Buffer.concat(read).toString()
}

/** The usernames in a CSV file, in its order. */
export const namesIn = (csv: string) =>
  csv
    .split('\r\n')
    .slice(1, -1)
    .map(line => line.split(',')[1]?.replaceAll('"', ''))
