import { afterAll, beforeAll } from 'bun:test'
import type { Clock } from '@/core/clock'
import { columnWords } from '@/core/migration'
import { defineErrors } from '@/core/error'
import { OneOf, Timestamp, Type } from '@/core/schema'
import { createSeal } from '@/core/seal'
import { createStore } from '@/core/store'
import { defineTable } from '@/core/table'
import { loadConfig } from '@/core/config/load'
import type { Config } from '@/core/config/settings'
import type { DriverTools, OpenDatabase } from '@/infra/database/driver'
import { openDatabase } from '@/infra/database/open'
import type { Backing } from '../backings'
import { fakeLog, fakeMetrics } from '../fakes'

/** A table with a column of every kind, as the suite of a database uses it. */
export const thingErrors = defineErrors({
  NameTaken: ['Conflict', 'This name is taken.'],
  CodeTaken: ['Conflict', 'This code is taken.'],
})

export const things = defineTable(
  'thing',
  {
    name: Type.String({ maxLength: 100 }),
    code: Type.String({ maxLength: 100 }),
    note: Type.Optional(Type.String({ maxLength: 200 })),
    amount: Type.Integer(),
    isOpen: Type.Boolean(),
    kind: OneOf(['big', 'small'], { description: 'Its size.' }),
    happensAt: Timestamp('When it happens.'),
  },
  {
    unique: [
      { columns: ['name'], taken: thingErrors.NameTaken },
      { columns: ['code'], taken: thingErrors.CodeTaken },
    ],
    sortable: ['amount', 'name', 'createdAt'],
  },
)

/** A clock that goes on by a millisecond each time it is read. */
export function steppingClock(startMs = Date.parse('2026-01-31T09:05:00.000Z')): Clock {
  let ms = startMs
  return { nowMs: () => ms++ }
}

export const testSeal = createSeal(
  Uint8Array.from({ length: 32 }, (_, i) => i),
  'test',
)

/** What a suite works on; there once its first test begins. */
export interface Things {
  backing: Backing
  db: OpenDatabase
  store: ReturnType<typeof thingStore>
}

/** Opens a backing with the table in it before the tests of a suite, and closes it after them. */
export function useThings(open: () => Promise<Backing>): Things {
  const used = {} as Things
  beforeAll(async () => {
    used.backing = await open()
    used.db = await openWithThings(used.backing)
    used.store = thingStore(used.db)
  })
  afterAll(async () => {
    await used.db.close()
    await used.backing.dispose()
  })
  return used
}

async function openWithThings(backing: Backing): Promise<OpenDatabase> {
  const db = await openAgain(backing)
  const { id, text, integer, boolean, timestamp, tableOptions } = columnWords[db.dialect.name]
  await db.run(
    `create table "thing" ("id" ${id} not null primary key, "name" ${text(100)} not null, "code" ${text(100)} not null, "note" ${text(200)},
     "amount" ${integer} not null, "isOpen" ${boolean} not null, "kind" ${text(16)} not null, "happensAt" ${timestamp} not null,
     "createdAt" ${timestamp} not null, "updatedAt" ${timestamp} not null, "version" ${integer} not null) ${tableOptions}`,
  )
  await db.run('create unique index "thing_name" on "thing" ("name")')
  await db.run('create unique index "thing_code" on "thing" ("code")')
  await db.run('create index "thing_amount" on "thing" ("amount", "id")')
  return db
}

/** Another process's view of the same database. */
export const openAgain = (
  backing: Backing,
  limits: Partial<Config['database']> = {},
  tools: Partial<DriverTools> = {},
): Promise<OpenDatabase> =>
  openDatabase(
    { database: { ...databaseDefaults, url: backing.url, ...limits } },
    { clock: steppingClock(), seal: testSeal, cache: undefined, log: fakeLog(), metrics: fakeMetrics(), ...tools },
  )

const databaseDefaults = { ...loadConfig({ env: {}, flags: {}, readFile: () => '' }).config.database, poolSize: 8 }

export const thingStore = (db: Parameters<typeof createStore>[0]) => createStore(db, things)

let count = 0
/** A row that nobody else has. */
export const newThing = (over: Partial<Parameters<ReturnType<typeof thingStore>['create']>[0]> = {}) => {
  count++
  return {
    name: `name ${count}`,
    code: `code ${count}`,
    amount: count,
    isOpen: true,
    kind: 'big' as const,
    happensAt: '2026-01-31T09:05:00.123Z',
    ...over,
  }
}
