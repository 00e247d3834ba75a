import { toTimestamp } from '../clock'
import { type Database, UniqueViolation } from '../database'
import { AppError } from '../error'
import { isUuid } from '../schema'
import type { AnyTable, UniqueKey } from '../table'
import { type Expected, type Removal, storeErrors } from './contract'
import type { Change, Copies } from './copies'
import { marks } from './filter'
import { planOf, type Row } from './plan'
import { matching, refuseMany } from './read'
import { uniqueKeysOf } from './unique'

const updateAttempts = 5
const upsertAttempts = 5
/** Rows of one insert: its statement is prepared once for each number of rows. */
const rowsPerInsert = 100

/** What changes one row, or adds rows. */
export function writesOf(db: Database, table: AnyTable, copies: Copies) {
  const plan = planOf(table, db.dialect)
  const { sql, codec, canonical, whole } = plan
  const unique = uniqueKeysOf(db, table)
  const primary = { from: 'primary' } as const
  const lock = db.inTransaction ? db.dialect.forUpdate : ''

  /** As it is on the primary; locked in a transaction. */
  const current = async (id: string, text = sql.get): Promise<Row | undefined> => {
    if (!isUuid(id)) return undefined
    const stored = await db.first(text + lock, [id], primary)
    return stored && whole.decode(stored)
  }

  /** In the order of the columns, as rows are read. */
  const newRow = (values: object, now: string): Row => {
    const row = { id: Bun.randomUUIDv7() } as Row
    canonical.fill(row, values)
    row['createdAt'] = now
    row['updatedAt'] = now
    row.version = 1
    return row
  }

  /** When the answer of a write does not come, it may have been carried out all the same. In a transaction its end decides. */
  const sent = <T>(changes: readonly Change[], writing: Promise<T>): Promise<T> => {
    if (!copies.areKept || db.inTransaction) return writing
    return writing.catch(async thrown => {
      if (thrown instanceof AppError) await copies.unsure(changes)
      throw thrown
    })
  }

  async function create(values: object): Promise<Row> {
    const row = newRow(values, toTimestamp(db.clock.nowMs()))
    await sent([{ after: row }], db.run(sql.insert, codec.encodeRow(row))).catch(thrown => unique.rethrow(thrown, [row]))
    await copies.changed(db, [{ after: row }])
    return row
  }

  async function createMany(many: readonly object[]): Promise<Row[]> {
    refuseMany(many.length, 'rows')
    const now = toTimestamp(db.clock.nowMs())
    const rows = many.map(values => newRow(values, now))
    if (rows.length === 0) return rows
    // One statement is all or nothing by itself.
    const isOne = rows.length <= rowsPerInsert
    const added = rows.map(after => ({ after }))
    const insert = async (on: Database) => {
      for (let i = 0; i < rows.length; i += rowsPerInsert) {
        const some = isOne ? rows : rows.slice(i, i + rowsPerInsert)
        await on.run(sql.insertMany(some.length), some.flatMap(codec.encodeRow))
      }
      return on
    }
    const several = () => db.tx(async tx => copies.changed(await insert(tx), added))
    await (isOne ? sent(added, insert(db)) : several()).catch(thrown => unique.rethrow(thrown, rows))
    if (isOne) await copies.changed(db, added)
    return rows
  }

  async function update(id: string, patch: object, expected: Expected = {}): Promise<Row | undefined> {
    const changes = Object.entries(canonical.patch(patch))
    // What a row was is wanted only where there are copies of it.
    if (db.runReturning && changes.length > 0 && !copies.areKept) return changeAtOnce(db.runReturning, id, changes, expected)
    return change(id, changes, expected)
  }

  /** Sets columns in one statement, which gives the row as it was written. */
  async function changeAtOnce(
    runReturning: NonNullable<Database['runReturning']>,
    id: string,
    changes: [string, unknown][],
    { versions }: Expected,
  ): Promise<Row | undefined> {
    if (!isUuid(id)) return undefined
    const assignments = changes.map(([column]) => `"${column}" = ?, `).join('')
    const values = changes.map(([column, value]) => codec.encode(column, value))
    const only = versions ? ` and "version" in (${marks(versions.length) || 'null'})` : ''
    const text = `update "${table.name}" set ${assignments}"updatedAt" = ?, "version" = "version" + 1 where "id" = ?${plan.andLive}${only} returning ${whole.list}`
    const now = codec.encode('updatedAt', toTimestamp(db.clock.nowMs()))
    const stored = await runReturning(text, [...values, now, id, ...(versions ?? [])]).catch(async thrown => {
      if (!(thrown instanceof UniqueViolation)) throw thrown
      // Which of several keys is taken is looked up with all values of the row.
      const row = await current(id)
      return unique.rethrow(thrown, row ? [{ ...row, ...Object.fromEntries(changes) }] : [])
    })
    if (stored) return whole.decode(stored)
    if (versions && (await current(id))) throw storeErrors.VersionMismatch()
    return undefined
  }

  /** Sets columns, by compare-and-set on the version. */
  async function change(id: string, changes: [string, unknown][], { versions }: Expected, text = sql.get): Promise<Row | undefined> {
    for (let attempt = 1; attempt <= updateAttempts; attempt++) {
      const row = await current(id, text)
      if (!row) return undefined
      if (versions && !versions.includes(row.version)) throw storeErrors.VersionMismatch()
      if (changes.length === 0) return row
      const next: Row = { ...row, updatedAt: toTimestamp(db.clock.nowMs()), version: row.version + 1 }
      for (const [column, value] of changes) {
        if (value === null) delete next[column]
        else next[column] = value
      }
      const written = [...changes.map(([column]) => column), 'updatedAt', 'version']
      const assignments = written.map(column => `"${column}" = ?`).join(', ')
      const values = written.map(column => codec.encode(column, next[column]))
      const changed = [{ before: row, after: next }]
      const query = `update "${table.name}" set ${assignments} where "id" = ? and "version" = ?`
      const writing = db.run(query, [...values, id, row.version])
      const { changes: matched } = await sent(changed, writing).catch(thrown => unique.rethrow(thrown, [next]))
      if (matched > 0) {
        await copies.changed(db, changed)
        return next
      }
    }
    throw storeErrors.Contended()
  }

  async function upsert(values: Record<string, unknown>, by: readonly string[]): Promise<{ row: Row; created: boolean }> {
    const key = (table.unique as UniqueKey[]).find(
      ({ columns }) => columns.length === by.length && columns.every(each => by.includes(each)),
    )
    if (!key) throw new Error(`table ${table.name}: upsert by ${by.join(', ')} takes the columns of one unique key`)
    const { text, values: params } = matching(plan, Object.fromEntries(by.map(column => [column, values[column]])), plan.live)
    for (let attempt = 1; attempt <= upsertAttempts; attempt++) {
      // Once it is known to be there, a transaction has to look past its snapshot, as a lock does.
      const known = await db.first(`select "id" from "${table.name}"${text} limit 1${attempt > 1 ? lock : ''}`, params, primary)
      if (known) {
        const row = await update(String(known['id']), values)
        if (row) return { row, created: false }
        continue
      }
      try {
        return { row: await create(values), created: true }
      } catch (thrown) {
        // Another added it meanwhile: then this one changes it. A key other than `by` stays taken.
        const isThere = await db.first(`select 1 as "n" from "${table.name}"${text} limit 1${lock}`, params, primary)
        if (!isThere) throw thrown
      }
    }
    throw storeErrors.Contended()
  }

  async function remove(id: string, { versions, forever }: Expected & Removal = {}): Promise<boolean> {
    if (!isUuid(id)) return false
    if (table.softDelete && !forever) {
      const removed = await change(id, [['deletedAt', toTimestamp(db.clock.nowMs())]], versions ? { versions } : {})
      return removed !== undefined
    }
    if (copies.areKept) return removeKnown(id, versions)
    const only = versions ? ` and "version" in (${marks(versions.length) || 'null'})` : ''
    const { changes } = await db.run(`${sql.delete}${only}`, [id, ...(versions ?? [])])
    if (changes === 0 && versions && (await current(id, sql.getAny))) throw storeErrors.VersionMismatch()
    return changes > 0
  }

  /** Of a row that there may be copies of: exactly as it was read, so that it is known under which keys they are. */
  async function removeKnown(id: string, versions: Expected['versions']): Promise<boolean> {
    for (let attempt = 1; attempt <= updateAttempts; attempt++) {
      const row = await current(id, sql.getAny)
      if (!row) return false
      if (versions && !versions.includes(row.version)) throw storeErrors.VersionMismatch()
      const { changes } = await sent([{ before: row }], db.run(`${sql.delete} and "version" = ?`, [id, row.version]))
      if (changes > 0) {
        await copies.changed(db, [{ before: row }])
        return true
      }
    }
    throw storeErrors.Contended()
  }

  async function restore(id: string, expected: Expected = {}): Promise<Row | undefined> {
    if (!table.softDelete) throw new Error(`table ${table.name} has no soft delete: what is removed is gone`)
    return change(id, [['deletedAt', null]], expected, `${sql.getAny} and "deletedAt" is not null`)
  }

  return {
    refuseTaken: (values: Record<string, unknown>) => unique.refuseTaken(values),
    create,
    createMany,
    update,
    upsert,
    delete: remove,
    restore,
  }
}
