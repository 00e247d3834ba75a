import type { Database, SQLQueryBindings, Statement } from 'bun:sqlite'
import { Kysely, MysqlDialect, SqliteDialect, type SqliteDatabase } from 'kysely'
import mysql from 'mysql2'
import { openSqliteFile } from './by-hand-sqlite'
import {
  changed,
  contended,
  fromDatetime,
  inOrder,
  listSize,
  made,
  notThere,
  type People,
  type Person,
  pageOf,
  toDatetime,
  tokenOf,
  updateAttempts,
} from './contract'

/** Kysely builds each query anew and hands rows out as the driver gives them; what is left is mapped here as its users do. */
interface Stored<T> {
  id: string
  name: string
  email: string
  city: string
  note: string | null
  score: number
  active: number
  createdAt: T
  updatedAt: T
  version: number
}
interface Tables<T> {
  bench_person: Stored<T>
}
interface Stamps<T> {
  from(stored: T): string
  to(timestamp: string): T
  /** Row values are quick on SQLite, and on MySQL read the whole index. */
  hasRowValues: boolean
}

export async function kyselyOnMysql(url: string, poolSize: number): Promise<People> {
  const pool = mysql.createPool({
    uri: url,
    connectionLimit: poolSize,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
  })
  const db = new Kysely<Tables<string>>({ dialect: new MysqlDialect({ pool }) })
  const stamps: Stamps<string> = { from: fromDatetime, to: toDatetime, hasRowValues: false }
  const common = kysely(db, stamps)
  return {
    ...common,
    async update(id, patch) {
      for (let attempt = 1; attempt <= updateAttempts; attempt++) {
        const person = await common.get(id)
        if (!person) throw notThere(id)
        const after = changed(person, patch)
        const { numUpdatedRows } = await db
          .updateTable('bench_person')
          .set({ ...patch, updatedAt: toDatetime(after.updatedAt), version: after.version })
          .where('id', '=', id)
          .where('version', '=', person.version)
          .executeTakeFirst()
        if (numUpdatedRows > 0n) return after
      }
      throw contended(id)
    },
  }
}

export async function kyselyOnSqlite(path: string): Promise<People> {
  const db = new Kysely<Tables<number>>({ dialect: new SqliteDialect({ database: shim(openSqliteFile(path)) }) })
  const stamps: Stamps<number> = { from: stored => new Date(stored).toISOString(), to: Date.parse, hasRowValues: true }
  return {
    ...kysely(db, stamps),
    // One statement reads, counts the version up and returns the row as written: nothing can come in between.
    async update(id, patch) {
      const stored = await db
        .updateTable('bench_person')
        .set(({ eb }) => ({ ...patch, updatedAt: Date.now(), version: eb('version', '+', 1) }))
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst()
      if (!stored) throw notThere(id)
      return decoder(stamps)(stored)
    },
  }
}

/** bun:sqlite in the shape of better-sqlite3. `query` keeps compiled statements by their text. */
function shim(db: Database): SqliteDatabase {
  const shimmed = (statement: Statement) => ({
    reader: statement.columnNames.length > 0,
    all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLQueryBindings[])),
    run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLQueryBindings[])),
    iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as SQLQueryBindings[])),
  })
  return { close: () => db.close(), prepare: text => shimmed(db.query(text)) as unknown as ReturnType<SqliteDatabase['prepare']> }
}

/** Changes the row that the driver has just made, so nobody else sees it change. */
const decoder =
  <T>({ from }: Stamps<T>) =>
  (stored: Stored<T>): Person => {
    const row = stored as unknown as { -readonly [K in keyof Person]: Person[K] }
    row.active = stored.active === 1
    row.createdAt = from(stored.createdAt)
    row.updatedAt = from(stored.updatedAt)
    return row
  }

function kysely<T>(typed: Kysely<Tables<T>>, stamps: Stamps<T>): Omit<People, 'update'> {
  // Kysely's types do not follow a type parameter into the columns.
  const db = typed as unknown as Kysely<Tables<string>>
  const to = stamps.to as unknown as (timestamp: string) => string
  const decoded = decoder(stamps) as unknown as (stored: Stored<string>) => Person
  const encoded = (person: Person): Stored<string> => ({
    ...person,
    note: person.note ?? null,
    active: person.active ? 1 : 0,
    createdAt: to(person.createdAt),
    updatedAt: to(person.updatedAt),
  })
  const select = () => db.selectFrom('bench_person').selectAll()
  return {
    name: 'Kysely',
    async get(id) {
      const stored = await select().where('id', '=', id).executeTakeFirst()
      return stored && decoded(stored)
    },
    getMany: async ids => inOrder(ids, (await select().where('id', 'in', ids).execute()).map(decoded)),
    async list(pageToken) {
      const newestFirst = select()
        .orderBy('createdAt', 'desc')
        .orderBy('id', 'desc')
        .limit(listSize + 1)
      if (!pageToken) return pageOf((await newestFirst.execute()).map(decoded))
      const [at, id] = tokenOf(pageToken)
      const after = to(at)
      const next = stamps.hasRowValues
        ? newestFirst.where(eb => eb(eb.refTuple('createdAt', 'id'), '<', eb.tuple(after, id)))
        : newestFirst.where('createdAt', '<=', after).where(eb => eb.or([eb('createdAt', '<', after), eb('id', '<', id)]))
      const rows = await next.execute()
      return pageOf(rows.map(decoded))
    },
    async create(person) {
      const row = made(person)
      await db.insertInto('bench_person').values(encoded(row)).execute()
      return row
    },
    async createMany(people) {
      const rows = people.map(made)
      await db.insertInto('bench_person').values(rows.map(encoded)).execute()
      return rows
    },
    close: () => db.destroy(),
  }
}
