import type { Column } from '../column'
import { type DialectName, type SqlValue, textCollations } from '../database'
import type { AppError } from '../error'
import { isText } from './value'

/** A condition on something inside a JSON column. */
export interface JsonCondition {
  /** Keys and positions: `['address', 'lines', 0]`. Keys are letters, digits, `_` and `-`. Up to 8 of them. */
  path?: readonly (string | number)[]
  eq?: JsonScalar
  ne?: JsonScalar
  in?: readonly JsonScalar[]
  /** Whether there is nothing, or null. */
  isNull?: boolean
}
type JsonScalar = string | number | boolean

const pathMax = 8
const keyPattern = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/
const inMax = 100

/** How a value in a JSON column is compared: with its type, so that `1`, `'1'` and `true` are three values. */
interface JsonWords {
  isNull(at: string): string
  equals(at: string, type: 'string' | 'number' | 'boolean'): string
  /** The parameter that `equals` takes after those of `at`, which stands in it twice. */
  value(value: JsonScalar): SqlValue
}

const server = (collation: string): JsonWords => ({
  isNull: at => `coalesce(json_type(json_extract(${at})), 'NULL') = 'NULL'`,
  equals: (at, type) => {
    const text = `json_unquote(json_extract(${at}))`
    if (type === 'string') return `json_type(json_extract(${at})) = 'STRING' and ${text} collate ${collation} = ?`
    if (type === 'boolean') return `json_type(json_extract(${at})) = 'BOOLEAN' and ${text} = ?`
    return `json_type(json_extract(${at})) in ('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL') and cast(${text} as double) = ?`
  },
  value: value => (typeof value === 'boolean' ? String(value) : value),
})

const words: Record<DialectName, JsonWords> = {
  sqlite: {
    isNull: at => `coalesce(json_type(${at}), 'null') = 'null'`,
    equals: (at, type) => {
      if (type === 'string') return `json_type(${at}) = 'text' and json_extract(${at}) = ?`
      if (type === 'boolean') return `json_type(${at}) in ('true', 'false') and json_extract(${at}) = ?`
      return `json_type(${at}) in ('integer', 'real') and json_extract(${at}) = ?`
    },
    value: value => (typeof value === 'boolean' ? Number(value) : value),
  },
  mysql: server(textCollations.mysql),
  mariadb: server(textCollations.mariadb),
}

/**
 * The condition as SQL, or undefined when no row can match it. Its parameters are appended to `values`; the path is one, too.
 */
export function jsonCondition(
  column: Column,
  condition: unknown,
  dialect: DialectName,
  values: SqlValue[],
  refused: (column: string, detail: string) => AppError,
): string | undefined {
  const name = `"${column.name}"`
  if (typeof condition !== 'object' || condition === null || Array.isArray(condition))
    throw refused(column.name, 'is JSON: say path and eq, ne, in or isNull')
  const { path, ...operators } = condition as Record<string, unknown>
  const [[operator, value] = [], ...more] = Object.entries(operators)
  if (operator === undefined || more.length > 0) throw refused(column.name, 'takes one operator with a path: eq, ne, in or isNull')
  if (path === undefined) {
    if (operator !== 'isNull' || typeof value !== 'boolean') throw refused(column.name, 'is JSON: say a path, or isNull')
    return `${name} is ${value ? '' : 'not '}null`
  }
  const { isNull, equals, value: stored } = words[dialect]
  const where = jsonPath(path)
  const lists = where && dialect !== 'sqlite' ? listsOn(path as (string | number)[]) : []
  if (where === undefined) throw refused(column.name, `has a path of keys and positions, at most ${pathMax}`)
  const at = `${name}, ?`
  const one = (scalar: unknown): string => {
    const type = typeof scalar
    const isScalar = type === 'string' ? isText(scalar as string) : type === 'number' ? Number.isFinite(scalar) : type === 'boolean'
    if (!isScalar) throw refused(column.name, 'is compared with a string, a number, true or false')
    values.push(...lists, where, where, stored(scalar as JsonScalar))
    return `(${lists.map(() => `${isList(name)} and `).join('')}${equals(at, type as 'string')})`
  }
  if (operator === 'eq') return one(value)
  if (operator === 'ne') return `${one(value)} is not true`
  if (operator === 'in') {
    if (!Array.isArray(value) || value.length > inMax) throw refused(column.name, `takes a list of at most ${inMax} values`)
    return value.length > 0 ? `(${value.map(one).join(' or ')})` : undefined
  }
  if (operator === 'isNull' && typeof value === 'boolean') {
    values.push(...lists, where)
    return `${value ? '' : 'not '}(${lists.map(() => `not (${isList(name)}) or `).join('')}${isNull(at)})`
  }
  throw refused(column.name, `there is no operator ${operator.slice(0, 32)} for JSON`)
}

/** On servers: they take what is no list for a list of one. */
const isList = (name: string) => `coalesce(json_type(json_extract(${name}, ?)), '') = 'ARRAY'`

/** The paths of what has to be a list, since a position follows. */
const listsOn = (path: readonly (string | number)[]): string[] =>
  path.flatMap((step, i) => (typeof step === 'number' ? (i === 0 ? '$' : (jsonPath(path.slice(0, i)) as string)) : []))

/** `['a', 0]` → `$."a"[0]`, or undefined when it is no path. */
function jsonPath(path: unknown): string | undefined {
  if (!Array.isArray(path) || path.length === 0 || path.length > pathMax) return undefined
  let text = '$'
  for (const step of path) {
    if (typeof step === 'string' && keyPattern.test(step)) text += `."${step}"`
    else if (typeof step === 'number' && Number.isInteger(step) && step >= 0 && step < 1_000_000) text += `[${step}]`
    else return undefined
  }
  return text
}
