import { desc, eq, inArray, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/bun-sqlite'
import { customType, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { openSqliteFile } from './by-hand-sqlite'
import { inOrder, listSize, made, notThere, type People, pageOf, tokenOf } from './contract'

/** Drizzle on bun:sqlite, with its prepared queries wherever the shape of the query is known before. */
const instant = customType<{ data: string; driverData: number }>({
  dataType: () => 'integer',
  fromDriver: stored => new Date(stored).toISOString(),
  toDriver: value => Date.parse(value),
})

const table = sqliteTable('bench_person', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  email: text('email').notNull(),
  city: text('city').notNull(),
  note: text('note'),
  score: integer('score').notNull(),
  active: integer('active', { mode: 'boolean' }).notNull(),
  createdAt: instant('createdAt').notNull(),
  updatedAt: instant('updatedAt').notNull(),
  version: integer('version').notNull(),
})

export async function drizzleOnSqlite(path: string): Promise<People> {
  const connection = openSqliteFile(path)
  const db = drizzle(connection)
  const newestFirst = [desc(table.createdAt), desc(table.id)]
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
    .where(sql`(${table.createdAt}, ${table.id}) < (${sql.placeholder('createdAt')}, ${sql.placeholder('id')})`)
    .orderBy(...newestFirst)
    .limit(listSize + 1)
    .prepare()

  return {
    name: 'Drizzle',
    get: async id => byId.get({ id }),
    getMany: async ids =>
      inOrder(
        ids,
        db
          .select()
          .from(table)
          .where(inArray(table.id, [...ids]))
          .all(),
      ),
    async list(pageToken) {
      if (!pageToken) return pageOf(first.all())
      const [at, id] = tokenOf(pageToken)
      return pageOf(next.all({ createdAt: Date.parse(at), id }))
    },
    async create(person) {
      const row = made(person)
      db.insert(table).values(row).run()
      return row
    },
    async createMany(people) {
      const rows = people.map(made)
      db.insert(table).values(rows).run()
      return rows
    },
    // One statement reads, counts the version up and returns the row as written: nothing can come in between.
    async update(id, patch) {
      const person = db
        .update(table)
        .set({ ...patch, updatedAt: new Date().toISOString(), version: sql`${table.version} + 1` })
        .where(eq(table.id, id))
        .returning()
        .get()
      if (!person) throw notThere(id)
      return person
    },
    async close() {
      connection.close()
    },
  }
}
