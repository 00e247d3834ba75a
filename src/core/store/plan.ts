import { type Column, type RowCodec, rowCodec, selectOf } from '../column'
import type { Dialect, SqlRow } from '../database'
import { canonicalOf } from './canonical'
import type { AnyTable } from '../table'
import { marks } from './filter'
import { createOrder, type Order } from './page'

/** What does not depend on a call, made once for each table and dialect. */
export interface Plan {
  readonly table: AnyTable
  readonly dialect: Dialect
  readonly columns: ReadonlyMap<string, Column>
  readonly codec: RowCodec
  /** Every column. */
  readonly whole: Selected
  /** @throws Error for a column that there is not */
  selected(names: readonly string[]): Selected
  /** Throws pageErrors.OrderBy. @param text as callers say it; by id when absent */
  order(text: string | undefined): Order
  readonly canonical: ReturnType<typeof canonicalOf>
  readonly sql: {
    get: string
    /** Rows that are removed, too. */
    getAny: string
    insert: string
    /** Of several rows. */
    insertMany(count: number): string
    delete: string
  }
  /** The condition of what is not removed; empty when removed rows are not kept. */
  readonly live: string
  /** The same with an `and` before it. */
  readonly andLive: string
}

export interface Selected {
  /** `"id", "name"` */
  readonly names: string
  /** The same as expressions, for columns that are not read as they are stored. */
  readonly list: string
  /** `select "id", "name" from "thing"` */
  readonly text: string
  decode(stored: SqlRow): Row
}
/** Inside, columns are known by their names only; outside, a row has the type of the table's schema. */
export type Row = Record<string, unknown> & { id: string; version: number }

const plans = new WeakMap<AnyTable, Map<Dialect, Plan>>()
/** What is asked for again is kept; callers can think of more than is worth keeping. */
const selectionsMax = 200
const ordersMax = 200

export function planOf(table: AnyTable, dialect: Dialect): Plan {
  const known = plans.get(table)?.get(dialect)
  if (known) return known
  const made = makePlan(table, dialect)
  plans.set(table, (plans.get(table) ?? new Map()).set(dialect, made))
  return made
}

function makePlan(table: AnyTable, dialect: Dialect): Plan {
  const columns = new Map(table.columns.map(column => [column.name, column]))
  const selections = new Map<string, Selected>()
  const orders = new Map<string, Order>()
  const codec = rowCodec(table.columns, dialect)
  const select = (some: readonly Column[]): Selected => {
    const { decodeRow } = rowCodec(some, dialect)
    const list = some.map(column => selectOf(column, dialect)).join(', ')
    return {
      names: some.map(({ name }) => `"${name}"`).join(', '),
      list,
      text: `select ${list} from "${table.name}"`,
      decode: decodeRow as Selected['decode'],
    }
  }
  const whole = select(table.columns)
  const live = table.softDelete ? '"deletedAt" is null' : ''
  const andLive = live && ` and ${live}`
  const names = table.columns.map(({ name }) => `"${name}"`).join(', ')
  const row = `(${marks(table.columns.length)})`
  /** By the number of rows, of which there is a limit. */
  const inserts = new Map<number, string>()
  const insert = `insert into "${table.name}" (${names}) values `
  return {
    table,
    dialect,
    columns,
    codec,
    whole,
    selected(wanted) {
      const key = wanted.join()
      const known = selections.get(key)
      if (known) return known
      const some = [...new Set(wanted)].map(name => {
        const column = columns.get(name)
        if (!column) throw new Error(`table ${table.name} has no column ${name}`)
        return column
      })
      const made = select(some)
      if (selections.size >= selectionsMax) selections.clear()
      selections.set(key, made)
      return made
    },
    order(text = 'id') {
      const known = orders.get(text)
      if (known) return known
      const made = createOrder(text, { table, columns, codec, dialect })
      if (orders.size >= ordersMax) orders.clear()
      orders.set(text, made)
      return made
    },
    canonical: canonicalOf(table),
    sql: {
      get: `${whole.text} where "id" = ?${andLive}`,
      getAny: `${whole.text} where "id" = ?`,
      insert: insert + row,
      insertMany(count) {
        const known = inserts.get(count) ?? insert + marks(count, row)
        inserts.set(count, known)
        return known
      },
      delete: `delete from "${table.name}" where "id" = ?`,
    },
    live,
    andLive,
  }
}
