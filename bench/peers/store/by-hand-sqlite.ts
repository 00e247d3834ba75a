import { Database, type SQLQueryBindings, type Statement } from 'bun:sqlite'
import { columnNames, inOrder, listSize, made, notThere, type NewPerson, type People, type Person, pageOf, tokenOf } from './contract'

/** SQL and decoding written by hand for exactly this table: prepared statements of bun:sqlite, on one connection. */
type Stored = Omit<Person, 'active' | 'createdAt' | 'updatedAt'> & { active: unknown; createdAt: unknown; updatedAt: unknown }

/** What the product sets; every contender has it. */
export function openSqliteFile(path: string): Database {
  const db = new Database(path, { create: true, readwrite: true, strict: true })
  db.run('pragma journal_mode = wal')
  db.run('pragma synchronous = full')
  db.run('pragma foreign_keys = on')
  return db
}

const columns = columnNames.map(name => `"${name}"`).join(', ')
const oneRow = `(${columnNames.map(() => '?').join(', ')})`
const order = `order by "createdAt" desc, "id" desc limit ${listSize + 1}`

/** Of the row that the driver has just made, so nobody else sees it change. */
function decoded(stored: Stored): Person {
  stored.active = stored.active === 1
  stored.createdAt = new Date(stored.createdAt as number).toISOString()
  stored.updatedAt = new Date(stored.updatedAt as number).toISOString()
  return stored as Person
}

const encoded = (person: Person): SQLQueryBindings[] => [
  person.id,
  person.name,
  person.email,
  person.city,
  person.note ?? null,
  person.score,
  person.active ? 1 : 0,
  Date.parse(person.createdAt),
  Date.parse(person.updatedAt),
  person.version,
]

export async function byHandOnSqlite(path: string): Promise<People> {
  const db = openSqliteFile(path)
  const select = `select ${columns} from "bench_person"`
  const selectOne = db.prepare<Stored, SQLQueryBindings[]>(`${select} where "id" = ?`)
  const selectFirst = db.prepare<Stored, SQLQueryBindings[]>(`${select} ${order}`)
  const selectNext = db.prepare<Stored, SQLQueryBindings[]>(`${select} where ("createdAt", "id") < (?, ?) ${order}`)
  const change = db.prepare<Stored, SQLQueryBindings[]>(
    `update "bench_person" set "city" = coalesce(?, "city"), "score" = coalesce(?, "score"), "updatedAt" = ?, "version" = "version" + 1
      where "id" = ? returning ${columns}`,
  )
  const ofCount = (make: (count: number) => string) => {
    const prepared = new Map<number, Statement<Stored, SQLQueryBindings[]>>()
    return (count: number) => {
      const statement = prepared.get(count) ?? db.prepare<Stored, SQLQueryBindings[]>(make(count))
      prepared.set(count, statement)
      return statement
    }
  }
  const selectMany = ofCount(count => `${select} where "id" in (${Array(count).fill('?').join(', ')})`)
  const insert = ofCount(count => `insert into "bench_person" (${columns}) values ${Array(count).fill(oneRow).join(', ')}`)

  return {
    name: '`bun:sqlite` by hand',
    async get(id) {
      const stored = selectOne.get(id)
      return stored ? decoded(stored) : undefined
    },
    getMany: async ids =>
      inOrder(
        ids,
        selectMany(ids.length)
          .all(...ids)
          .map(decoded),
      ),
    async list(pageToken) {
      if (!pageToken) return pageOf(selectFirst.all().map(decoded))
      const [createdAt, id] = tokenOf(pageToken)
      return pageOf(selectNext.all(Date.parse(createdAt), id).map(decoded))
    },
    async create(person) {
      const row = made(person)
      insert(1).run(...encoded(row))
      return row
    },
    async createMany(people: readonly NewPerson[]) {
      const rows = people.map(made)
      insert(rows.length).run(...rows.flatMap(encoded))
      return rows
    },
    // One statement reads, counts the version up and returns the row as written: nothing can come in between.
    async update(id, { city, score }) {
      const stored = change.get(city ?? null, score ?? null, Date.now(), id)
      if (!stored) throw notThere(id)
      return decoded(stored)
    },
    async close() {
      db.close()
    },
  }
}
