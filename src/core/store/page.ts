import type { RowCodec } from '../column'
import type { Dialect } from '../database'
import { defineErrors } from '../error'
import type { Seal } from '../seal'
import type { AnyTable } from '../table'
import { type Sql, placeholderOf } from './filter'
import type { Column } from '../column'

/** Pages of a list, as in AIP-132 and AIP-158: `pageSize`, `pageToken`, `orderBy`. */
export const pageSizeMax = 100
const pageSizeDefault = 20
const orderColumnsMax = 3

export const pageErrors = defineErrors({
  PageSize: ['InvalidArgument', 'pageSize must not be negative.'],
  PageToken: ['InvalidArgument', 'This page token does not belong to this list. Start again without one.'],
  OrderBy: ['InvalidArgument', 'This list cannot be ordered so.'],
})

export interface OrderBy {
  column: string
  direction: 'asc' | 'desc'
}

/** A size over the maximum is cut, not refused (AIP-158). */
export function parsePageSize(size: number | undefined): number {
  if (!size) return pageSizeDefault
  if (!(size >= 0)) throw pageErrors.PageSize({ problems: [{ pointer: 'pageSize', detail: 'must not be negative' }] })
  return Math.max(1, Math.min(Math.floor(size), pageSizeMax))
}

/** @returns the columns asked for, and id last, so that no two rows are equal */
export function parseOrderBy(text: string | undefined, { sortable }: AnyTable): OrderBy[] {
  const order = (text?.trim() || 'id').split(',').map(part => {
    const [column = '', direction = 'asc', ...rest] = part.trim().split(/\s+/)
    const known = column === 'id' || sortable.includes(column)
    return known && (direction === 'asc' || direction === 'desc') && rest.length === 0 ? ({ column, direction } as OrderBy) : undefined
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
  return [...order, { column: 'id', direction: order.at(-1)?.direction ?? 'asc' }]
}

/** Of the table's columns, and not of what is selected under their names, which is another expression for some. */
export const orderingOf = ({ name }: AnyTable, order: readonly OrderBy[]): string =>
  order.map(({ column, direction }) => `"${name}"."${column}" ${direction}`).join(', ')

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
 */
export function rowsAfter(
  order: readonly OrderBy[],
  last: readonly unknown[],
  { columns, codec, dialect }: { columns: ReadonlyMap<string, Column>; codec: RowCodec; dialect: Dialect },
): Sql {
  const encoded = order.map(({ column }, i) => codec.encode(column, last[i]))
  const named = order.map(({ column, direction }) => ({
    name: `"${column}"`,
    sign: direction === 'asc' ? '>' : '<',
    mark: placeholderOf(columns.get(column) as Column, dialect),
  }))
  const isUniform = new Set(named.map(({ sign }) => sign)).size === 1
  if (isUniform && (dialect.name === 'sqlite' || named.length === 1)) {
    const [first] = named
    const list = (of: 'name' | 'mark') => named.map(each => each[of]).join(', ')
    const text = named.length === 1 ? `${first?.name} ${first?.sign} ${first?.mark}` : `(${list('name')}) ${first?.sign} (${list('mark')})`
    return { text, values: encoded }
  }
  const values: Sql['values'] = []
  const intervals = named.map(({ name, sign, mark }, i) => {
    values.push(...encoded.slice(0, i + 1))
    return [...named.slice(0, i).map(each => `${each.name} = ${each.mark}`), `${name} ${sign} ${mark}`].join(' and ')
  })
  return { text: `((${intervals.join(') or (')}))`, values }
}
