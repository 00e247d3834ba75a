import mysql, { type ResultSetHeader, type RowDataPacket } from 'mysql2/promise'
import {
  changed,
  columnNames,
  contended,
  fromDatetime,
  inOrder,
  listSize,
  made,
  notThere,
  type NewPerson,
  type People,
  type Person,
  pageOf,
  toDatetime,
  tokenOf,
  updateAttempts,
} from './contract'

/** SQL and decoding written by hand for exactly this table: prepared statements (`execute`) of mysql2. */
type Stored = RowDataPacket & { active: unknown } & Omit<Person, 'active'>

const columns = columnNames.join(', ')
const select = `select ${columns} from bench_person`
const oneRow = `(${columnNames.map(() => '?').join(', ')})`
const order = `order by createdAt desc, id desc limit ${listSize + 1}`
const sql = {
  get: `${select} where id = ?`,
  first: `${select} ${order}`,
  next: `${select} where createdAt <= ? and (createdAt < ? or id < ?) ${order}`,
  insert: (count: number) => `insert into bench_person (${columns}) values ${Array(count).fill(oneRow).join(', ')}`,
  getMany: (count: number) => `${select} where id in (${Array(count).fill('?').join(', ')})`,
  update: 'update bench_person set city = ?, score = ?, updatedAt = ?, version = ? where id = ? and version = ?',
}

/** Of the row that the driver has just made, so nobody else sees it change. */
function decoded(stored: Stored): Person {
  stored.active = stored.active === 1
  stored.createdAt = fromDatetime(stored.createdAt)
  stored.updatedAt = fromDatetime(stored.updatedAt)
  return stored as Person
}

const encoded = (person: Person) => [
  person.id,
  person.name,
  person.email,
  person.city,
  person.note ?? null,
  person.score,
  person.active ? 1 : 0,
  toDatetime(person.createdAt),
  toDatetime(person.updatedAt),
  person.version,
]

export async function byHandOnMysql(url: string, poolSize: number): Promise<People> {
  const pool = mysql.createPool({
    uri: url,
    connectionLimit: poolSize,
    maxPreparedStatements: 500,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    enableKeepAlive: true,
  })

  async function get(id: string): Promise<Person | undefined> {
    const [rows] = await pool.execute<Stored[]>(sql.get, [id])
    return rows[0] && decoded(rows[0])
  }

  async function createMany(people: readonly NewPerson[]): Promise<Person[]> {
    const rows = people.map(made)
    await pool.execute(sql.insert(rows.length), rows.flatMap(encoded))
    return rows
  }

  return {
    name: 'mysql2 `execute` by hand',
    get,
    createMany,
    async getMany(ids) {
      const [rows] = await pool.execute<Stored[]>(sql.getMany(ids.length), [...ids])
      return inOrder(ids, rows.map(decoded))
    },
    async list(pageToken) {
      if (!pageToken) {
        const [rows] = await pool.execute<Stored[]>(sql.first)
        return pageOf(rows.map(decoded))
      }
      const [createdAt, id] = tokenOf(pageToken)
      const after = toDatetime(createdAt)
      const [rows] = await pool.execute<Stored[]>(sql.next, [after, after, id])
      return pageOf(rows.map(decoded))
    },
    async create(person) {
      const row = made(person)
      await pool.execute(sql.insert(1), encoded(row))
      return row
    },
    async update(id, patch) {
      for (let attempt = 1; attempt <= updateAttempts; attempt++) {
        const person = await get(id)
        if (!person) throw notThere(id)
        const next = changed(person, patch)
        const values = [next.city, next.score, toDatetime(next.updatedAt), next.version, id, person.version]
        const [{ affectedRows }] = await pool.execute<ResultSetHeader>(sql.update, values)
        if (affectedRows > 0) return next
      }
      throw contended(id)
    },
    close: () => pool.end(),
  }
}
