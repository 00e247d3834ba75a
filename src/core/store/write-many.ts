import { toTimestamp } from '../clock'
import type { Database, SqlValue } from '../database'
import type { AnyTable } from '../table'
import { batchMax, type Removal } from './contract'
import type { Copies } from './copies'
import { filledUp, filter, matchesAll } from './filter'
import { type Plan, planOf, type Row } from './plan'
import { matching } from './read'
import { uniqueKeysOf } from './unique'

/** What changes or removes every row that matches: one statement, or batches in one transaction where copies have to be renewed. */
export function writesOfMany(db: Database, table: AnyTable, copies: Copies) {
  const plan = planOf(table, db.dialect)

  async function updateMany(where: object | 'all', patch: object): Promise<number> {
    return change(which(where, plan), Object.entries(plan.canonical.patch(patch)))
  }

  async function change(where: object, changes: [string, unknown][]): Promise<number> {
    if (changes.length === 0) return 0
    const stamps: [string, unknown][] = [...changes, ['updatedAt', toTimestamp(db.clock.nowMs())]]
    const assignments = stamps.map(([column]) => `"${column}" = ?`).join(', ')
    const values = stamps.map(([column, value]) => plan.codec.encode(column, value))
    const next = (row: Row): Row => {
      const set = Object.fromEntries(stamps.map(([column, value]) => [column, value ?? undefined]))
      return { ...row, ...set, version: row.version + 1 }
    }
    return perform(`update "${table.name}" set ${assignments}, "version" = "version" + 1`, values, where, plan.live, next)
  }

  async function deleteMany(where: object | 'all', { forever }: Removal = {}): Promise<number> {
    const wanted = which(where, plan)
    if (table.softDelete && !forever) return change(wanted, [['deletedAt', toTimestamp(db.clock.nowMs())]])
    return perform(`delete from "${table.name}"`, [], wanted, '', () => undefined)
  }

  type Next = (row: Row) => Row | undefined

  /**
   * @param statement what to do, up to its `where`
   * @param next what becomes of a row
   */
  async function perform(statement: string, params: SqlValue[], where: object, among: string, next: Next): Promise<number> {
    try {
      if (copies.areKept) return await db.tx(tx => inBatches(tx, statement, params, where, among, next))
      const { text, values } = matching(plan, where, among)
      return (await db.run(`${statement}${text}`, [...params, ...values])).changes
    } catch (thrown) {
      return uniqueKeysOf(db, table).rethrow(thrown, [])
    }
  }

  /** The rows first, so that it is known whose copies are old; by id, so that none is met twice though it still matches. */
  async function inBatches(tx: Database, statement: string, params: SqlValue[], where: object, among: string, next: Next): Promise<number> {
    let changed = 0
    let after = ''
    for (;;) {
      const last = after ? { text: '"id" > ?', values: [after] } : undefined
      const { text, values } = matching(plan, where, among, last)
      const query = `${plan.whole.text}${text} order by "id" limit ${batchMax}${tx.dialect.forUpdate}`
      const rows: Row[] = (await tx.all(query, values)).map(plan.whole.decode)
      if (rows.length === 0) return changed
      const ids: SqlValue[] = rows.map(row => row.id)
      changed += (await tx.run(`${statement} where "id" in (${filledUp(ids.length, ids)})`, [...params, ...ids])).changes
      await copies.changed(
        tx,
        rows.map(before => copyChange(before, next(before))),
      )
      if (rows.length < batchMax) return changed
      after = rows.at(-1)?.id ?? ''
    }
  }

  return { updateMany, deleteMany }
}

const copyChange = (before: Row, after: Row | undefined) => (after ? { before, after } : { before })

function which(where: object | 'all', plan: Plan): object {
  if (where === 'all') return {}
  if (matchesAll(filter(where, plan))) throw new Error("this where matches every row: say 'all' when that is meant")
  return where
}
