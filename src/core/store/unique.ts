import { type Database, type SqlValue, UniqueViolation } from '../database'
import { type AnyTable, type UniqueKey, uniqueKeyOf } from '../table'
import type { Column } from '../column'
import { placeholderOf } from './filter'
import { planOf, type Row } from './plan'

/** Which of a table's unique keys is taken, said in the table's own words. */
export function uniqueKeysOf(db: Database, table: AnyTable) {
  const plan = planOf(table, db.dialect)
  const { codec, whole, andLive } = plan
  const keys = table.unique as readonly UniqueKey[]

  /** Throws the error of the first of `asked` that another row has. */
  async function refuseTaken(values: Record<string, unknown>, ownId?: string, asked = keys): Promise<void> {
    const spelled = plan.canonical.spelled(values)
    const complete = asked.filter(({ columns }) => columns.every(column => spelled[column] !== undefined && spelled[column] !== null))
    if (complete.length === 0) return
    const one = ({ columns }: UniqueKey) =>
      `(${columns.map(column => `"${column}" = ${placeholderOf(plan.columns.get(column) as Column, plan.dialect)}`).join(' and ')})`
    const params: SqlValue[] = complete.flatMap(({ columns }) => columns.map(column => codec.encode(column, spelled[column])))
    const query = `${whole.text} where (${complete.map(one).join(' or ')})${andLive} limit ?`
    const others = (await db.all(query, [...params, complete.length + 1], { from: 'primary' }))
      .map(whole.decode)
      .filter(row => row.id !== ownId)
    const broken = complete.find(({ columns }) =>
      others.some(other => columns.every(column => Bun.deepEquals(other[column], spelled[column]))),
    )
    if (broken) throw broken.taken()
  }

  /**
   * Throws what a failed write means to the caller. The database names one key; the one declared first is the one to report.
   * @param rows what was to be written; they may break a key among themselves
   */
  async function rethrow(thrown: unknown, rows: readonly Row[]): Promise<never> {
    const broken = thrown instanceof UniqueViolation ? keys.find(key => uniqueKeyOf(table, key) === thrown.key) : undefined
    if (!broken) throw thrown
    const before = keys.slice(0, keys.indexOf(broken))
    for (const key of before) {
      const values = rows.map(row => key.columns.map(column => row[column])).filter(each => !each.includes(undefined))
      if (new Set(values.map(each => JSON.stringify(each))).size < values.length) throw key.taken()
    }
    for (const row of rows) await refuseTaken(row, row.id, before)
    throw broken.taken()
  }

  return { refuseTaken, rethrow }
}
