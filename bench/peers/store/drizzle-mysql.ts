import { and, desc, eq, inArray, lt, lte, or, sql } from 'drizzle-orm'
import { bigint, boolean, char, customType, mysqlTable, varchar } from 'drizzle-orm/mysql-core'
import { drizzle } from 'drizzle-orm/mysql2'
import mysql from 'mysql2/promise'
import {
  changed,
  contended,
  fromDatetime,
  inOrder,
  listSize,
  made,
  notThere,
  type People,
  pageOf,
  toDatetime,
  tokenOf,
  updateAttempts,
} from './contract'

/** Drizzle on mysql2, with its prepared queries wherever the shape of the query is known before. */
const instant = customType<{ data: string; driverData: string }>({
  dataType: () => 'datetime(3)',
  fromDriver: fromDatetime,
  toDriver: toDatetime,
})

const table = mysqlTable('bench_person', {
  id: char('id', { length: 36 }).primaryKey(),
  name: varchar('name', { length: 64 }).notNull(),
  email: varchar('email', { length: 254 }).notNull(),
  city: varchar('city', { length: 64 }).notNull(),
  note: varchar('note', { length: 255 }),
  score: bigint('score', { mode: 'number' }).notNull(),
  active: boolean('active').notNull(),
  createdAt: instant('createdAt').notNull(),
  updatedAt: instant('updatedAt').notNull(),
  version: bigint('version', { mode: 'number' }).notNull(),
})

export async function drizzleOnMysql(url: string, poolSize: number): Promise<People> {
  const pool = mysql.createPool({ uri: url, connectionLimit: poolSize, charset: 'utf8mb4', timezone: 'Z', supportBigNumbers: true })
  const db = drizzle(pool)
  const newestFirst = [desc(table.createdAt), desc(table.id)]
  const createdAt = sql`${sql.placeholder('createdAt')}`
  const byId = db
    .select()
    .from(table)
    .where(eq(table.id, sql.placeholder('id')))
    .prepare()
  const first = db
    .select()
    .from(table)
    .orderBy(...newestFirst)
    .limit(listSize + 1)
    .prepare()
  const next = db
    .select()
    .from(table)
    .where(and(lte(table.createdAt, createdAt), or(lt(table.createdAt, createdAt), lt(table.id, sql.placeholder('id')))))
    .orderBy(...newestFirst)
    .limit(listSize + 1)
    .prepare()

  return {
    name: 'Drizzle',
    get: async id => (await byId.execute({ id }))[0],
    getMany: async ids =>
      inOrder(
        ids,
        await db
          .select()
          .from(table)
          .where(inArray(table.id, [...ids])),
      ),
    async list(pageToken) {
      if (!pageToken) return pageOf(await first.execute())
      const [at, id] = tokenOf(pageToken)
      return pageOf(await next.execute({ createdAt: toDatetime(at), id }))
    },
    async create(person) {
      const row = made(person)
      await db.insert(table).values(row)
      return row
    },
    async createMany(people) {
      const rows = people.map(made)
      await db.insert(table).values(rows)
      return rows
    },
    async update(id, patch) {
      for (let attempt = 1; attempt <= updateAttempts; attempt++) {
        const [person] = await byId.execute({ id })
        if (!person) throw notThere(id)
        const after = changed(person, patch)
        const [{ affectedRows }] = await db
          .update(table)
          .set({ ...patch, updatedAt: after.updatedAt, version: after.version })
          .where(and(eq(table.id, id), eq(table.version, person.version)))
        if (affectedRows > 0) return after
      }
      throw contended(id)
    },
    close: () => pool.end(),
  }
}
