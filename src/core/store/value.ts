import type { ColumnKind } from '../database'
import { isOfFormat } from '../schema'

/** What fits a kind of column on every database alike. */

const longTextBytesMax = 2 ** 24 - 1
/** The least year that a DATETIME may have; the greatest is the greatest of RFC 3339. */
const firstInstant = '1000-01-01'

/** Whether values can be kept in, or compared with, a column of this kind. Limits of its own the column's schema has. */
export function storableBy(kind: ColumnKind, scale = 18): (value: unknown) => boolean {
  switch (kind) {
    case 'integer':
      return Number.isSafeInteger
    case 'float':
      return Number.isFinite
    case 'boolean':
      return value => typeof value === 'boolean'
    case 'binary':
      return value => value instanceof Uint8Array && value.length <= longTextBytesMax
    case 'json':
      return isJson
    case 'timestamp':
      return value => typeof value === 'string' && isOfFormat('date-time', value) && value >= firstInstant
    case 'date':
      return value => typeof value === 'string' && isOfFormat('date', value)
    case 'bigint':
      return value => typeof value === 'string' && isOfFormat('int64', value)
    case 'decimal':
      return value => typeof value === 'string' && isOfFormat('decimal', value) && (value.split('.')[1]?.length ?? 0) <= scale
    case 'id':
      return value => typeof value === 'string' && isOfFormat('uuid', value)
    default:
      return value => typeof value === 'string' && isText(value)
  }
}

/** NUL ends a text in some databases, and half a surrogate pair is stored as something else. */
export const isText = (value: string): boolean =>
  !value.includes('\0') && value.isWellFormed() && (value.length < longTextBytesMax / 4 || Buffer.byteLength(value) <= longTextBytesMax)

function isJson(value: unknown): boolean {
  const text = JSON.stringify(value)
  if (text === undefined || text.length > longTextBytesMax / 4 || depthOf(value) > jsonDepthMax) return false
  // Written as an escape, which one server refuses and another changes.
  if (!/\\u(d[89a-f]|0000)/i.test(text)) return true
  return deepStrings(value).every(isText)
}

/** One server refuses what nests deeper than 31. */
const jsonDepthMax = 30

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let deepest = 0
  for (const each of Object.values(value)) deepest = Math.max(deepest, depthOf(each))
  return deepest + 1
}

function deepStrings(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, each]) => [key, ...deepStrings(each)])
}
