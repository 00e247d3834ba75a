import { defineErrors } from './error'
import type { Seal } from './seal'

/** Pages of a list, as in AIP-132 and AIP-158: `pageSize`, `pageToken`, `orderBy`. */
export const pageSizeMax = 100
const pageSizeDefault = 20

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
  if (size < 0) throw pageErrors.PageSize({ problems: [{ pointer: 'pageSize', detail: 'must not be negative' }] })
  return Math.min(Math.floor(size), pageSizeMax)
}

export function parseOrderBy(text: string | undefined, sortable: readonly string[]): OrderBy {
  const [column = '', direction = 'asc', ...rest] = (text?.trim() || 'id').split(/\s+/)
  const known = column === 'id' || sortable.includes(column)
  if (known && (direction === 'asc' || direction === 'desc') && rest.length === 0) return { column, direction }
  const detail = `must be one of ${sortable.join(', ')}, and may be followed by asc or desc`
  throw pageErrors.OrderBy({ problems: [{ pointer: 'orderBy', detail }] })
}

export const encodePageToken = (seal: Seal, purpose: string, value: unknown, id: string): string =>
  seal.close(JSON.stringify([value, id]), purpose)

export function decodePageToken(seal: Seal, purpose: string, token: string): { value: unknown; id: string } {
  const text = seal.open(token, purpose)
  if (text === undefined) throw pageErrors.PageToken()
  const [value, id] = JSON.parse(text) as [unknown, string]
  return { value, id }
}
