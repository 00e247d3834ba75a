import type { Column, RowCodec } from '../column'
import type { Dialect, SqlValue } from '../database'
import { defineErrors } from '../error'
import type { Seal } from '../seal'
import type { AnyTable } from '../table'
import { placeholderOf } from './filter'

/** Pages of a list, as in AIP-132 and AIP-158: `pageSize`, `pageToken`, `orderBy`. */
export const pageSizeMax = 100
const pageSizeDefault = 20
const orderColumnsMax = 3

export const pageErrors = defineErrors({
  PageSize: ['InvalidArgument', 'pageSize must not be negative.'],
  PageToken: ['InvalidArgument', 'This page token does not belong to this list. Start again without one.'],
  OrderBy: ['InvalidArgument', 'This list cannot be ordered so.'],
})

/** An order of rows in which no two are equal, and how a list goes on after one of them. */
export interface Order {
  /** Its columns; the id is the last, unless they are a unique key without it. */
  readonly columns: readonly string[]
  /** After `order by`. */
  readonly text: string
  /** The condition of what comes after a row, for its values as `valuesAfter` gives them. */
  readonly after: string
  valuesAfter(last: readonly unknown[]): SqlValue[]
}

/** A size over the maximum is cut, not refused (AIP-158). For what lists in another way than a store does, too. @throws PageSize */
export function parsePageSize(size: number | undefined): number {
  if (!size) return pageSizeDefault
  if (!(size >= 0)) throw pageErrors.PageSize({ problems: [{ pointer: 'pageSize', detail: 'must not be negative' }] })
  return Math.max(1, Math.min(Math.floor(size), pageSizeMax))
}

interface By {
  column: string
  direction: 'asc' | 'desc'
}

function parseOrderBy(text: string, table: AnyTable): By[] {
  const { sortable } = table
  const order = (text.trim() || 'id').split(',').map(part => {
    const [column = '', direction = 'asc', ...rest] = part.trim().split(/\s+/)
    const known = column === 'id' || sortable.includes(column)
    return known && (direction === 'asc' || direction === 'desc') && rest.length === 0 ? ({ column, direction } as By) : undefined
  })
  const isKnown = order.every(each => each !== undefined)
  const isOnce = new Set(order.map(each => each?.column)).size === order.length
  if (!isKnown || !isOnce || order.length > orderColumnsMax) {
    const detail = `must be one to ${orderColumnsMax} of ${sortable.join(', ')}, each of which may be followed by asc or desc`
    throw pageErrors.OrderBy({ problems: [{ pointer: 'orderBy', detail }] })
  }
  const ids = order.findIndex(each => each.column === 'id')
  // What would come after the id decides nothing.
  if (ids !== -1) return order.slice(0, ids + 1)
  if (isTotal(order, table)) return order
  return [...order, { column: 'id', direction: order.at(-1)?.direction ?? 'asc' }]
}

/**
 * Whether no two rows are equal in it. Then the id would decide nothing, and MariaDB would sort by it all the same, since it is not said of a unique
 * index that it ends in one. Rows that are soft-deleted may have the values of others.
 */
const isTotal = (order: readonly By[], { unique, softDelete }: AnyTable): boolean =>
  !softDelete && unique.some(key => key.columns.every(column => order.some(by => by.column === column)))

/** What an order needs to know of its table. */
interface Ordered {
  table: AnyTable
  columns: ReadonlyMap<string, Column>
  codec: RowCodec
  dialect: Dialect
}

/** @throws pageErrors.OrderBy for columns that lists of this table cannot be ordered by */
export function createOrder(text: string, ordered: Ordered): Order {
  const by = parseOrderBy(text, ordered.table)
  const { intervals, after } = rowsAfter(by, ordered)
  return {
    columns: by.map(({ column }) => column),
    // Of the table's columns, and not of what is selected under their names, which is another expression for some.
    text: by.map(({ column, direction }) => `"${ordered.table.name}"."${column}" ${direction}`).join(', '),
    after,
    valuesAfter(last) {
      const values = by.map(({ column }, i) => ordered.codec.encode(column, last[i]))
      return intervals.flatMap(count => values.slice(0, count))
    },
  }
}

/** @param last the values of the last row in the columns of the order */
export const encodePageToken = (seal: Seal, purpose: string, last: readonly unknown[]): string => seal.close(JSON.stringify(last), purpose)

export function decodePageToken(seal: Seal, purpose: string, token: string): unknown[] {
  const text = seal.open(token, purpose)
  if (text === undefined) throw pageErrors.PageToken()
  return JSON.parse(text) as unknown[]
}

/**
 * The rows that come after one in an order (seek method; Winand, Use The Index, Luke), said for each database so that it begins
 * reading an index at the right entry: SQLite does with row values, the servers with a union of intervals.
 * @returns how many of the row's values each interval takes
 */
function rowsAfter(by: readonly By[], { columns, dialect }: Ordered): { after: string; intervals: number[] } {
  const named = by.map(({ column, direction }) => ({
    name: `"${column}"`,
    sign: direction === 'asc' ? '>' : '<',
    mark: placeholderOf(columns.get(column) as Column, dialect),
  }))
  const isUniform = new Set(named.map(({ sign }) => sign)).size === 1
  if (isUniform && dialect.name === 'sqlite') {
    const list = (of: 'name' | 'mark') => named.map(each => each[of]).join(', ')
    return { after: `(${list('name')}) ${named[0]?.sign} (${list('mark')})`, intervals: [named.length] }
  }
  const intervals = named.map(({ name, sign, mark }, i) =>
    [...named.slice(0, i).map(each => `${each.name} = ${each.mark}`), `${name} ${sign} ${mark}`].join(' and '),
  )
  return { after: `((${intervals.join(') or (')}))`, intervals: named.map((_, i) => i + 1) }
}
