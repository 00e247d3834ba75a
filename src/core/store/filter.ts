import type { Column, RowCodec } from '../column'
import type { Dialect, SqlValue } from '../database'
import { defineErrors } from '../error'
import { isUuid } from '../schema'
import { storableBy } from './value'
import { type JsonCondition, jsonCondition } from './json-filter'

/**
 * Which rows: columns with what they must be, all of them. Text is compared by its bytes, so case and accents count.
 *
 * A column that has no value differs from every value: `ne`, `notIn` and `not` match it, the others do not.
 */
export type Where<R> = { [K in keyof R]?: Condition<Exclude<R[K], undefined>> } & {
  and?: readonly Where<R>[]
  or?: readonly Where<R>[]
  not?: Where<R>
}
type Condition<V> = V extends string
  ? V | (Compared<V> & Matched)
  : V extends number | boolean | Uint8Array
    ? V | Compared<V>
    : JsonCondition

interface Compared<V> {
  eq?: V
  ne?: V
  /** Up to 1,000 values. */
  in?: readonly V[]
  notIn?: readonly V[]
  gt?: V
  gte?: V
  lt?: V
  lte?: V
  /** Whether the column has no value. */
  isNull?: boolean
}
interface Matched {
  /** Begins so; served by an index. */
  prefix?: string
  /** Has it somewhere; looks at every row. */
  contains?: string
}

export const filterErrors = defineErrors({
  Filter: ['InvalidArgument', 'This filter cannot be used.'],
})

/** A piece of SQL and its parameters. */
export interface Sql {
  text: string
  values: SqlValue[]
}

export const inMax = 1000
const depthMax = 8
const conditionsMax = 100

/** What a filter is made for. */
export interface FilterTarget {
  columns: ReadonlyMap<string, Column>
  codec: RowCodec
  dialect: Dialect
}

/** @throws filterErrors.Filter for a column, operator or value that there is not */
export function filter(where: object, target: FilterTarget): Sql {
  const values: SqlValue[] = []
  let conditions = 0

  const all = (given: unknown, depth: number): string => {
    if (depth > depthMax) throw refused('', `nests deeper than ${depthMax}`)
    const parts = entriesOf(given).map(([name, condition]) => {
      if (name === 'and') return joined(condition, ' and ', '1 = 1', name, depth)
      if (name === 'or') return joined(condition, ' or ', '1 = 0', name, depth)
      // Not true rather than false: a comparison with a value that is not there is neither.
      if (name === 'not') return `(${all(condition, depth + 1)}) is not true`
      return column(name, condition)
    })
    return parts.length > 0 ? parts.join(' and ') : '1 = 1'
  }

  const joined = (given: unknown, word: string, empty: string, name: string, depth: number): string => {
    if (!Array.isArray(given)) throw refused(name, 'takes a list of filters')
    return given.length > 0 ? `(${given.map(each => `(${all(each, depth + 1)})`).join(word)})` : empty
  }

  const column = (name: string, condition: unknown): string => {
    const known = target.columns.get(name)
    if (!known) throw refused(name, 'is no column')
    // A condition on undefined would silently match every row.
    if (condition === undefined) throw new Error(`${name} cannot be compared with undefined; leave it out`)
    if (known.kind === 'json') {
      count()
      return jsonCondition(known, condition, target.dialect.name, values, refused)
    }
    if (!isOperators(condition)) return compared(known, 'eq', condition)
    const parts = Object.entries(condition).map(([operator, value]) => compared(known, operator, value))
    if (parts.length === 0) throw refused(name, 'has no operator')
    return parts.length === 1 ? (parts[0] as string) : `(${parts.join(' and ')})`
  }

  const markOf = (known: Column) => placeholderOf(known, target.dialect)

  const count = () => {
    if (++conditions > conditionsMax) throw refused('', `has more than ${conditionsMax} conditions`)
  }

  const push = (known: Column, value: unknown) => {
    const problem = misfit(known, value)
    if (problem) throw refused(known.name, problem)
    values.push(target.codec.encode(known.name, value))
  }

  const compared = (known: Column, operator: string, value: unknown): string => {
    count()
    const name = `"${known.name}"`
    if (value === undefined) throw new Error(`${known.name} cannot be compared with undefined; leave it out`)
    const sign = signs.get(operator)
    if (sign) {
      // No row has an id that is none; as a parameter it may not even be of the column's character set.
      if (known.kind === 'id' && sign.isEquality && typeof value === 'string' && !isUuid(value))
        return sign.text === '=' ? '1 = 0' : '1 = 1'
      push(known, value)
      const text = `${name} ${sign.text} ${markOf(known)}`
      return sign.text === '<>' && known.isOptional ? `(${text} or ${name} is null)` : text
    }
    if (operator === 'isNull') {
      if (typeof value !== 'boolean') throw refused(known.name, 'isNull takes true or false')
      return `${name} is ${value ? '' : 'not '}null`
    }
    if (operator === 'in' || operator === 'notIn') return listed(known, value, operator === 'in')
    if (operator === 'prefix' || operator === 'contains') return matched(known, value, operator)
    throw refused(known.name, `there is no operator ${operator.slice(0, 32)}`)
  }

  const listed = (known: Column, value: unknown, isIn: boolean): string => {
    if (!Array.isArray(value)) throw refused(known.name, 'takes a list of values')
    if (value.length > inMax) throw refused(known.name, `takes at most ${inMax} values`)
    const wanted = known.kind === 'id' ? value.filter(each => typeof each !== 'string' || isUuid(each)) : value
    if (wanted.length === 0) return isIn ? '1 = 0' : '1 = 1'
    for (const each of wanted) push(known, each)
    const list = `"${known.name}" ${isIn ? 'in' : 'not in'} (${filledUp(wanted.length, values, markOf(known))})`
    return isIn || !known.isOptional ? list : `(${list} or "${known.name}" is null)`
  }

  const matched = (known: Column, value: unknown, operator: 'prefix' | 'contains'): string => {
    const isText = known.kind === 'text' || known.kind === 'longText' || known.kind === 'enum'
    if (!isText) throw refused(known.name, `is not text, so there is no ${operator}`)
    const name = `"${known.name}"`
    if (value === '') return `${name} is not null`
    // Not by LIKE, whose wildcards and treatment of case differ: by an interval that an index serves, and by position.
    push(known, value)
    if (operator === 'contains') return `instr(${name}, ?) > 0`
    const end = afterPrefix(value as string)
    if (end === undefined) return `${name} >= ?`
    values.push(end)
    return `(${name} >= ? and ${name} < ?)`
  }

  return { text: all(where, 0), values }
}

const signs = new Map([
  ['eq', { text: '=', isEquality: true }],
  ['ne', { text: '<>', isEquality: true }],
  ['gt', { text: '>', isEquality: false }],
  ['gte', { text: '>=', isEquality: false }],
  ['lt', { text: '<', isEquality: false }],
  ['lte', { text: '<=', isEquality: false }],
])

export const refused = (column: string, detail: string) =>
  filterErrors.Filter({ problems: [{ pointer: `where${column && `.${column.slice(0, 64)}`}`, detail }] })

function entriesOf(given: unknown): [string, unknown][] {
  if (!isOperators(given)) throw refused('', 'is no filter')
  return Object.entries(given)
}

/** A plain object; bytes and lists are values. */
const isOperators = (given: unknown): given is object =>
  typeof given === 'object' && given !== null && !Array.isArray(given) && !(given instanceof Uint8Array)

/** Why a value cannot be compared with a column, whatever its limits are: asking for what cannot be there is allowed. */
function misfit(column: Column, value: unknown): string | undefined {
  if (column.kind === 'enum' && typeof value === 'string') return undefined
  return storableBy(column.kind, column.scale)(value) ? undefined : `cannot be compared with this value; it is a ${column.kind}`
}

/** The first text by code points that is greater than every text with this prefix; undefined when there is none. */
function afterPrefix(prefix: string): string | undefined {
  const points = [...prefix].map(character => character.codePointAt(0) as number)
  while (points.length > 0) {
    const last = points.pop() as number
    if (last === 0x10ffff) continue
    // There is no character from D800 to DFFF.
    return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
  }
  return undefined
}

/** Lengths of lists that have a statement of their own; others are filled up, so that there are few statements to prepare. */
const listLengths = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800, inMax]

/** What stands for a value compared with a column. */
export const placeholderOf = (column: Column, { codecs }: Dialect): string => codecs[column.kind]?.placeholder?.(column) ?? '?'

/** `?, ?, ?` for the last `count` of `values`, to which the last is added as often as it takes. */
export function filledUp(count: number, values: SqlValue[], mark = '?'): string {
  const length = listLengths.find(each => each >= count) ?? count
  const last = values.at(-1) as SqlValue
  for (let i = count; i < length; i++) values.push(last)
  return marks(length, mark)
}

export const marks = (count: number, mark = '?'): string => `${mark}, `.repeat(count).slice(0, -2)
