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
/** Servers take 65,535 in one statement, and SQLite 32,766. */
const valuesMax = 10_000

/** What a filter is made for. */
export interface FilterTarget {
  columns: ReadonlyMap<string, Column>
  codec: RowCodec
  dialect: Dialect
}

/** What a filter comes to when it does not look at any row. */
const always: Sql = { text: '1 = 1', values: [] }
const never: Sql = { text: '1 = 0', values: [] }
export const matchesAll = (sql: Sql): boolean => sql === always

/** @throws filterErrors.Filter for a column, operator or value that there is not */
export function filter(where: object, target: FilterTarget): Sql {
  let conditions = 0
  let valuesLeft = valuesMax

  const all = (given: unknown, depth: number): Sql => {
    if (depth > depthMax) throw refused('', `nests deeper than ${depthMax}`)
    return and(
      entriesOf(given).map(([name, condition]) => {
        if (name === 'and') return and(each(condition, name, depth))
        if (name === 'or') return or(each(condition, name, depth))
        if (name === 'not') return not(all(condition, depth + 1))
        return column(name, condition)
      }),
    )
  }

  const each = (given: unknown, name: string, depth: number): Sql[] => {
    if (!Array.isArray(given)) throw refused(name, 'takes a list of filters')
    return given.map(one => {
      count()
      return all(one, depth + 1)
    })
  }

  const column = (name: string, condition: unknown): Sql => {
    const known = target.columns.get(name)
    if (!known) throw refused(name, 'is no column')
    // A condition on undefined would silently match every row.
    if (condition === undefined) throw new Error(`${name} cannot be compared with undefined; leave it out`)
    if (known.kind === 'json') {
      count()
      const values: SqlValue[] = []
      const text = jsonCondition(known, condition, target.dialect.name, values, refused)
      take(values.length)
      return text === undefined ? never : { text, values }
    }
    if (!isOperators(condition)) return compared(known, 'eq', condition)
    const parts = Object.entries(condition).map(([operator, value]) => compared(known, operator, value))
    if (parts.length === 0) throw refused(name, 'has no operator')
    return and(parts)
  }

  const count = () => {
    if (++conditions > conditionsMax) throw refused('', `has more than ${conditionsMax} conditions`)
  }

  const take = (values: number) => {
    valuesLeft -= values
    if (valuesLeft < 0) throw refused('', `has more than ${valuesMax} values`)
  }

  const markOf = (known: Column) => placeholderOf(known, target.dialect)

  const encoded = (known: Column, value: unknown): SqlValue => {
    const problem = misfit(known, value)
    if (problem) throw refused(known.name, problem)
    take(1)
    return target.codec.encode(known.name, value)
  }

  const compared = (known: Column, operator: string, value: unknown): Sql => {
    count()
    const name = `"${known.name}"`
    if (value === undefined) throw new Error(`${known.name} cannot be compared with undefined; leave it out`)
    const sign = signs.get(operator)
    if (sign) {
      // No row has an id that is none; as a parameter it may not even be of the column's character set.
      const isNoId = known.kind === 'id' && sign.isEquality && typeof value === 'string' && !isUuid(value)
      if (isNoId) return sign.text === '=' ? never : always
      const values = [encoded(known, value)]
      const text = `${name} ${sign.text} ${markOf(known)}`
      return { text: sign.text === '<>' && known.isOptional ? `(${text} or ${name} is null)` : text, values }
    }
    if (operator === 'isNull') {
      if (typeof value !== 'boolean') throw refused(known.name, 'isNull takes true or false')
      return { text: `${name} is ${value ? '' : 'not '}null`, values: [] }
    }
    if (operator === 'in' || operator === 'notIn') return listed(known, value, operator === 'in')
    if (operator === 'prefix' || operator === 'contains') return matched(known, value, operator)
    throw refused(known.name, `there is no operator ${operator.slice(0, 32)}`)
  }

  const listed = (known: Column, value: unknown, isIn: boolean): Sql => {
    if (!Array.isArray(value)) throw refused(known.name, 'takes a list of values')
    if (value.length > inMax) throw refused(known.name, `takes at most ${inMax} values`)
    const wanted = known.kind === 'id' ? value.filter(one => typeof one !== 'string' || isUuid(one)) : value
    if (wanted.length === 0) return isIn ? never : always
    const values = wanted.map(one => encoded(known, one))
    const list = `"${known.name}" ${isIn ? 'in' : 'not in'} (${filledUp(wanted.length, values, markOf(known))})`
    return { text: isIn || !known.isOptional ? list : `(${list} or "${known.name}" is null)`, values }
  }

  const matched = (known: Column, value: unknown, operator: 'prefix' | 'contains'): Sql => {
    const isText = known.kind === 'text' || known.kind === 'longText' || known.kind === 'enum'
    if (!isText) throw refused(known.name, `is not text, so there is no ${operator}`)
    const name = `"${known.name}"`
    // Not by LIKE, whose wildcards and treatment of case differ: by an interval that an index serves, and by position.
    const start = encoded(known, value)
    if (value === '') return { text: `${name} is not null`, values: [] }
    if (operator === 'contains') return { text: `instr(${name}, ?) > 0`, values: [start] }
    const end = afterPrefix(value as string)
    if (end === undefined) return { text: `${name} >= ?`, values: [start] }
    return { text: `(${name} >= ? and ${name} < ?)`, values: [start, end] }
  }

  return all(where, 0)
}

/** Those that look at no row are worked out here, so that it is known when a filter restricts nothing. */
function and(parts: readonly Sql[]): Sql {
  if (parts.includes(never)) return never
  return joined(
    parts.filter(part => part !== always),
    ' and ',
    always,
  )
}
function or(parts: readonly Sql[]): Sql {
  if (parts.includes(always)) return always
  return joined(
    parts.filter(part => part !== never),
    ' or ',
    never,
  )
}
function joined(parts: readonly Sql[], word: string, empty: Sql): Sql {
  const [first = empty] = parts
  if (parts.length <= 1) return first
  return { text: `(${parts.map(({ text }) => text).join(word)})`, values: parts.flatMap(({ values }) => values) }
}
function not(part: Sql): Sql {
  if (part === always) return never
  // Not true rather than false: a comparison with a value that is not there is neither.
  return part === never ? always : { text: `(${part.text}) is not true`, values: part.values }
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
  if (!storableBy(column.kind, column.scale)(value)) return `cannot be compared with this value; it is a ${column.kind}`
  const { kind, precision = 0, scale = 0 } = column
  // Databases treat what has no room in the column differently.
  const hasRoom =
    kind !== 'decimal' || ((value as string).split('.')[0] as string).replace('-', '').length <= Math.max(1, precision - scale)
  return hasRoom ? undefined : `has at most ${precision - scale} digits before the point`
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
