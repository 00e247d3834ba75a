import { afterAll, beforeAll } from 'bun:test'
import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import { defineErrors } from '@/core/error'
import { columnWords } from '@/core/migration'
import { BigInteger, Bytes, CalendarDate, Decimal, Id, Json, OneOf, secret, Timestamp, Type } from '@/core/schema'
import { createSeal } from '@/core/seal'
import { createStore, type NewRow } from '@/core/store'
import { type AnyTable, belongsTo, defineTable, hasMany, type RowOf, relate } from '@/core/table'
import { createStatements } from '../create-statements'
import { loadConfig } from '@/core/config/load'
import type { Config } from '@/core/config/settings'
import type { DriverTools, OpenDatabase } from '@/infra/database/driver'
import { openDatabase } from '@/infra/database/open'
import type { Backing } from '../backings'
import { fakeLog, fakeMetrics } from '../fakes'

/** Tables as the suites of a database use them: with a column of every kind, with soft delete, with relations. */
export const thingErrors = defineErrors({
  NameTaken: ['Conflict', 'This name is taken.'],
  CodeTaken: ['Conflict', 'This code is taken.'],
  SlugTaken: ['Conflict', 'This slug is taken.'],
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
    sortable: ['amount', 'name', 'createdAt', 'kind'],
  },
)

/** One column of each kind, each of which may be absent. */
export const samples = defineTable(
  'sample',
  {
    text: Type.Optional(Type.String({ maxLength: 120 })),
    essay: Type.Optional(Type.String()),
    whole: Type.Optional(Type.Integer()),
    large: Type.Optional(BigInteger('Beyond 2^53.')),
    price: Type.Optional(Decimal(18, 4, 'Exact.')),
    ratio: Type.Optional(Type.Number()),
    isOn: Type.Optional(Type.Boolean()),
    at: Type.Optional(Timestamp('An instant.')),
    day: Type.Optional(CalendarDate('A day.')),
    kind: Type.Optional(OneOf(['one', 'two', 'three'], { description: 'Which.' })),
    data: Type.Optional(Json(Type.Unknown())),
    bytes: Type.Optional(Bytes(2000, 'Raw.')),
    token: Type.Optional(secret(Type.String({ maxLength: 120 }))),
    refId: Type.Optional(Id()),
  },
  { indexes: [['whole']] },
)

const author = defineTable('author', { name: Type.String({ maxLength: 60 }) }, { sortable: ['name'] })
const post = defineTable(
  'post',
  {
    authorId: Id(),
    title: Type.String({ maxLength: 100 }),
    slug: Type.String({ maxLength: 60 }),
    rank: Type.Integer(),
  },
  {
    softDelete: true,
    indexes: [['authorId']],
    sortable: ['rank'],
    unique: [{ columns: ['slug'], taken: thingErrors.SlugTaken }],
  },
)
export const authors = relate(author, { posts: hasMany(relate(post, { writer: belongsTo(author, 'authorId') }), 'authorId') })
export const posts = relate(post, { author: belongsTo(author, 'authorId') })

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

/** Opens a backing with the tables in it before the tests of a suite, and closes it after them. */
export function useThings(open: () => Promise<Backing>): Things {
  const used = {} as Things
  beforeAll(async () => {
    used.backing = await open()
    used.db = await openAgain(used.backing)
    for (const table of [things, samples, authors, posts]) await createTable(used.db, table)
    used.store = thingStore(used.db)
  })
  afterAll(async () => {
    await used.db.close()
    await used.backing.dispose()
  })
  return used
}

export async function createTable(db: Database, table: AnyTable): Promise<void> {
  for (const statement of createStatements(table, columnWords[db.dialect.name])) await db.run(statement)
}

/** An empty database with the tables of a guide in it. */
export async function openGuideDatabase(url: string, tables: readonly AnyTable[]): Promise<OpenDatabase> {
  const db = await openAgain({ url })
  for (const table of tables) await createTable(db, table)
  return db
}

/** Another process's view of the same database. */
export const openAgain = (
  backing: Pick<Backing, 'url'>,
  limits: Partial<Config['database']> = {},
  tools: Partial<DriverTools> = {},
): Promise<OpenDatabase> =>
  openDatabase(
    { database: { ...databaseDefaults, url: backing.url, ...limits } },
    { clock: steppingClock(), seal: testSeal, cache: undefined, log: fakeLog(), metrics: fakeMetrics(), ...tools },
  )

const databaseDefaults = { ...loadConfig({ env: {}, flags: {}, readFile: () => '' }).config.database, poolSize: 8 }

/** The database, in whose transactions some is done differently. */
export const withTx = (db: Database, different: (tx: Database) => Partial<Database>): Database => ({
  ...db,
  tx: (work, options) => db.tx(tx => work({ ...tx, ...different(tx) }), options),
})

export const thingStore = (db: Database) => createStore(db, things)

/** What a failed call is told apart by: its code or, when it is none of ours, its message. */
export const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'resolved',
    thrown => thrown.code ?? thrown.message,
  )

let count = 0
/** A row that nobody else has. */
export const newThing = (over: Partial<NewRow<RowOf<typeof things>>> = {}): NewRow<RowOf<typeof things>> => {
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
