import { toTimestamp } from './clock'
import { type Database, type Dialect, type SqlValue, UniqueViolation } from './database'
import { defineErrors } from './error'
import { decodePageToken, encodePageToken, type OrderBy, parseOrderBy, parsePageSize } from './page'
import { isUuid, type Of, type TObject } from './schema'
import { type RowCodec, rowCodec } from './column'
import { type Table, type UniqueKey, uniqueKeyOf } from './table'

export const storeErrors = defineErrors({
  VersionMismatch: ['FailedPrecondition', 'It was changed since you read it. Read it again and repeat the change.'],
  Contended: ['Aborted', 'Others keep changing it at the same time. Try again.'],
})

type KeptByStore = 'id' | 'createdAt' | 'updatedAt' | 'version'
type OptionalKeys<R> = { [K in keyof R]-?: undefined extends R[K] ? K : never }[keyof R]

export type NewRow<R> = Omit<R, KeptByStore>
/** What to change; `null` removes a value that is optional. */
export type Patch<R> = { [K in keyof NewRow<R>]?: R[K] | (K extends OptionalKeys<R> ? null : never) }
/** Columns that must equal these values. */
export type Where<R> = { [K in keyof R]?: Exclude<R[K], undefined> }

export interface ListOptions<R> {
  where?: Where<R>
  /** `'createdAt desc'`: a sortable column, and asc (the default) or desc. Ties are broken by id. */
  orderBy?: string
  /** 1–100, more is cut to 100; 20 when absent or 0. */
  pageSize?: number
  /** From the page before; bound to the same `where` and `orderBy`. */
  pageToken?: string
}
export interface Page<R> {
  items: R[]
  /** Empty on the last page. */
  nextPageToken: string
}
export interface Expected {
  /** The row must have one of these versions, or VersionMismatch is thrown. */
  versions?: readonly number[]
}

/** Keeps rows of one table. Methods reject with the table's own error when a unique key is taken. */
export interface Store<R> {
  /**
   * Throws the table's own error when one of its unique keys is taken by another row just now. Saves costly work ahead of a
   * `create`; it is the `create` that decides.
   */
  refuseTaken(values: Partial<NewRow<R>>): Promise<void>
  /** Adds a row with a new id. */
  create(row: NewRow<R>): Promise<R>
  get(id: string): Promise<R | undefined>
  /** The one row, or the first by id, that equals `where`. */
  find(where: Where<R>): Promise<R | undefined>
  /** One page in a stable order: rows added or removed between pages neither repeat nor hide others. */
  list(options?: ListOptions<R>): Promise<Page<R>>
  count(where?: Where<R>): Promise<number>
  /**
   * Changes a row and returns exactly what was written, or undefined when there is none. Safe against a change at the same
   * time: it is read again, a bounded number of times.
   * @throws storeErrors.VersionMismatch, storeErrors.Contended
   */
  update(id: string, patch: Patch<R>, expected?: Expected): Promise<R | undefined>
  /** @returns whether there was such a row */
  delete(id: string, expected?: Expected): Promise<boolean>
}

const updateAttempts = 5

/** The store of a table in a database or, with the `tx` of `db.tx`, in a transaction. Costs nothing to make. */
export function createStore<S extends TObject>(db: Database, table: Table<S>): Store<Of<S>> {
  // Inside, columns are known by their names only; outside, a row has the type of the table's schema.
  type R = Record<string, unknown> & { id: string; version: number }
  const { sql, codec } = compiled(table, db.dialect)
  const decode = (stored: object | undefined) => (stored ? (codec.decodeRow(stored as never) as R) : undefined)

  const read = async (query: string, id: string) => (isUuid(id) ? decode(await db.first(query, [id])) : undefined)
  const get = (id: string) => read(sql.get, id)

  async function create(values: object): Promise<R> {
    const now = toTimestamp(db.clock.nowMs())
    const row: R = { ...values, id: Bun.randomUUIDv7(), createdAt: now, updatedAt: now, version: 1 }
    await db.run(sql.insert, codec.encodeRow(row)).catch(thrown => rethrow(thrown, row))
    return row
  }

  async function find(where: object): Promise<R | undefined> {
    const { text, values } = conditions(where)
    return decode(await db.first(`${sql.select}${text} order by "id" limit 1`, values))
  }

  async function list({ where = {}, orderBy, pageSize, pageToken }: ListOptions<object> = {}): Promise<Page<R>> {
    const order = parseOrderBy(orderBy, table.sortable)
    const size = parsePageSize(pageSize)
    // A token opens only for the query that it continues.
    const purpose = JSON.stringify([table.name, where, order])
    const after = pageToken ? decodePageToken(db.seal, purpose, pageToken) : undefined
    const { text, values } = conditions(where, after && keyset(order, after))
    const { column, direction } = order
    const ordering = column === 'id' ? `"id" ${direction}` : `"${column}" ${direction}, "id" ${direction}`
    const stored = await db.all(`${sql.select}${text} order by ${ordering} limit ?`, [...values, size + 1])
    const items = stored.slice(0, size).map(row => codec.decodeRow(row) as R)
    const last = items.at(-1)
    const hasMore = stored.length > size && last !== undefined
    return { items, nextPageToken: hasMore ? encodePageToken(db.seal, purpose, last[column], last.id) : '' }
  }

  async function count(where: object = {}): Promise<number> {
    const { text, values } = conditions(where)
    return Number((await db.first(`${sql.count}${text}`, values))?.['n'] ?? 0)
  }

  async function update(id: string, patch: object, { versions }: Expected = {}): Promise<R | undefined> {
    const changes = Object.entries(patch).filter(([, value]) => value !== undefined)
    for (let attempt = 1; attempt <= updateAttempts; attempt++) {
      const row = await read(sql.getForUpdate(db.inTransaction), id)
      if (!row) return undefined
      if (versions && !versions.includes(row.version)) throw storeErrors.VersionMismatch()
      if (changes.length === 0) return row
      const next: R = { ...row, updatedAt: toTimestamp(db.clock.nowMs()), version: row.version + 1 }
      for (const [column, value] of changes) {
        if (value === null) delete next[column]
        else next[column] = value
      }
      const written = [...changes.map(([column]) => column), 'updatedAt', 'version']
      const assignments = written.map(column => `${quoted(table, column)} = ?`).join(', ')
      const values = written.map(column => codec.encode(column, next[column]))
      const { changes: matched } = await db
        .run(`update "${table.name}" set ${assignments} where "id" = ? and "version" = ?`, [...values, id, row.version])
        .catch(thrown => rethrow(thrown, next))
      if (matched > 0) return next
    }
    throw storeErrors.Contended()
  }

  async function remove(id: string, { versions }: Expected = {}): Promise<boolean> {
    if (!isUuid(id)) return false
    const only = versions ? ` and "version" in (${versions.map(() => '?').join(', ') || 'null'})` : ''
    const { changes } = await db.run(`${sql.delete}${only}`, [id, ...(versions ?? [])])
    if (changes === 0 && versions && (await get(id))) throw storeErrors.VersionMismatch()
    return changes > 0
  }

  function conditions(where: object, more?: { text: string; values: readonly SqlValue[] }) {
    const clauses: string[] = []
    const values: SqlValue[] = []
    for (const [column, value] of Object.entries(where)) {
      // A condition on undefined would silently match every row.
      if (value === undefined) throw new Error(`${table.name}.${column}: cannot be compared with undefined; leave it out`)
      clauses.push(`${quoted(table, column)} = ?`)
      values.push(codec.encode(column, value))
    }
    if (more) {
      clauses.push(more.text)
      values.push(...more.values)
    }
    return { text: clauses.length > 0 ? ` where ${clauses.join(' and ')}` : '', values }
  }

  /** Rows after the last one of the page before, said so that an index on (column, id) is used on every database. */
  function keyset({ column, direction }: OrderBy, after: { value: unknown; id: string }) {
    const sign = direction === 'asc' ? '>' : '<'
    if (column === 'id') return { text: `"id" ${sign} ?`, values: [after.id] }
    const value = codec.encode(column, after.value)
    const name = quoted(table, column)
    return { text: `${name} ${sign}= ? and (${name} ${sign} ? or "id" ${sign} ?)`, values: [value, value, after.id] }
  }

  async function refuseTaken(values: Record<string, unknown>, ownId?: string, keys = table.unique): Promise<void> {
    const asked = keys.filter(({ columns }) => columns.every(column => values[column] !== undefined))
    if (asked.length === 0) return
    const one = ({ columns }: UniqueKey) => `(${columns.map(column => `${quoted(table, column)} = ?`).join(' and ')})`
    const params = asked.flatMap(({ columns }) => columns.map(column => codec.encode(column, values[column])))
    const others = (await db.all(`${sql.select} where ${asked.map(one).join(' or ')} limit ?`, [...params, asked.length + 1]))
      .map(row => codec.decodeRow(row) as R)
      .filter(row => row.id !== ownId)
    const broken = asked.find(({ columns }) => others.some(other => columns.every(column => other[column] === values[column])))
    if (broken) throw broken.taken()
  }

  /** Throws the table's error for the first of its unique keys that `row` breaks. */
  async function rethrow(thrown: unknown, row: R): Promise<never> {
    if (!(thrown instanceof UniqueViolation)) throw thrown
    const broken = table.unique.findIndex(key => uniqueKeyOf(table, key) === thrown.key)
    // The database names one key; the one declared first is the one to report.
    await refuseTaken(row, row.id, table.unique.slice(0, Math.max(broken, 0)))
    throw table.unique[broken]?.taken() ?? thrown
  }

  return { refuseTaken, create, get, find, list, count, update, delete: remove } as unknown as Store<Of<S>>
}

function quoted(table: Table, column: string): string {
  if (!table.columns.some(({ name }) => name === column)) throw new Error(`table ${table.name} has no column ${column}`)
  return `"${column}"`
}

interface CompiledTable {
  codec: RowCodec
  sql: { select: string; get: string; getForUpdate(locking: boolean): string; insert: string; delete: string; count: string }
}

/** The statements that do not depend on a call are made once for each table and dialect. */
const cache = new WeakMap<Table, Map<Dialect, CompiledTable>>()

function compiled(table: Table, dialect: Dialect): CompiledTable {
  const found = cache.get(table)?.get(dialect)
  if (found) return found
  const names = table.columns.map(({ name }) => `"${name}"`).join(', ')
  const select = `select ${names} from "${table.name}"`
  const get = `${select} where "id" = ?`
  const locked = `${get}${dialect.forUpdate}`
  const made: CompiledTable = {
    codec: rowCodec(table.columns, dialect),
    sql: {
      select,
      get,
      getForUpdate: locking => (locking ? locked : get),
      insert: `insert into "${table.name}" (${names}) values (${table.columns.map(() => '?').join(', ')})`,
      delete: `delete from "${table.name}" where "id" = ?`,
      count: `select count(*) as n from "${table.name}"`,
    },
  }
  cache.set(table, (cache.get(table) ?? new Map()).set(dialect, made))
  return made
}
