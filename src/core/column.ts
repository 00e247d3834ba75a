import type { Codec, ColumnKind, Dialect, SqlRow, SqlValue } from './database'
import type { ColumnWords } from './migration'
import { isSecret, type TSchema } from './schema'

/** One column of a table, as its schema says it. */
export interface Column {
  readonly name: string
  readonly kind: ColumnKind
  /** May be absent, which is NULL in the database. */
  readonly isOptional: boolean
  readonly isSecret: boolean
  /** Characters of a text or enum, bytes of a binary. */
  readonly length?: number
  /** Digits of a decimal. */
  readonly precision?: number
  readonly scale?: number
  readonly schema: TSchema
}

/** Longest text that a column of its own length may have; longer ones are long texts, which cannot be indexed. */
const textLengthMax = 16_000
const enumLengthMin = 16
const bytesMax = 2 ** 24 - 1

/** @throws Error at start when there is no column type for the schema */
export function columnOf(table: string, name: string, schema: TSchema, isOptional: boolean): Column {
  const base = { name, isOptional, isSecret: isSecret(schema), schema }
  if (schema['column'] === 'json') return { ...base, kind: 'json' }
  if (schema['type'] === 'string') return { ...base, ...textual(schema) }
  if (schema['type'] === 'integer') return { ...base, kind: 'integer' }
  if (schema['type'] === 'number') return { ...base, kind: 'float' }
  if (schema['type'] === 'boolean') return { ...base, kind: 'boolean' }
  if (schema['type'] === 'Uint8Array') return { ...base, kind: 'binary', length: schema['maxByteLength'] ?? bytesMax }
  throw new Error(
    `column ${table}.${name}: there is no column type for this schema; use a string, number, integer, boolean, OneOf, Timestamp, CalendarDate, BigInteger, Decimal or Bytes, or Json(…) for anything else`,
  )
}

type Textual = { kind: ColumnKind; length?: number; precision?: number; scale?: number }

function textual(schema: TSchema): Textual {
  const { format, maxLength } = schema as { format?: string; maxLength?: number }
  const values = schema['enum'] as string[] | undefined
  if (values) return { kind: 'enum', length: Math.max(enumLengthMin, ...values.map(value => value.length)) }
  if (format === 'uuid') return { kind: 'id' }
  if (format === 'date-time') return { kind: 'timestamp' }
  if (format === 'date') return { kind: 'date' }
  if (format === 'int64') return { kind: 'bigint' }
  if (format === 'decimal') return { kind: 'decimal', precision: schema['precision'], scale: schema['scale'] }
  if (maxLength !== undefined && maxLength <= textLengthMax) return { kind: 'text', length: maxLength }
  return { kind: 'longText' }
}

/** The column's type in the words of a database. */
export function columnType({ kind, length = 0, precision = 0, scale = 0 }: Column, words: ColumnWords): string {
  if (kind === 'text' || kind === 'enum') return words.text(length)
  if (kind === 'binary') return words.binary(length)
  if (kind === 'decimal') return words.decimal(precision, scale)
  return words[kind]
}

/** `'12.5'` at scale 2 → `'12.50'`: the one spelling of a decimal. */
export function fixedDecimal(value: string, scale: number): string {
  const [whole = '', fraction = ''] = value.split('.')
  const text = scale > 0 ? `${whole}.${fraction.padEnd(scale, '0')}` : whole
  return /^-[0.]*$/.test(text) ? text.slice(1) : text
}

/** How a table's rows go in and out of a database of one dialect. */
export interface RowCodec {
  encode(column: string, value: unknown): SqlValue
  /** All columns in the order of the table. */
  encodeRow(row: object): SqlValue[]
  /** Turns what was read into the row, which is the same object. */
  decodeRow(stored: SqlRow): object
}

export function rowCodec(columns: readonly Column[], dialect: Dialect): RowCodec {
  const codecs = columns.map(column => dialect.codecs[column.kind])
  const byName = new Map(columns.map((column, i) => [column.name, [column, codecs[i]] as const]))
  const write = (value: unknown, column: Column, codec: Codec | undefined): SqlValue => {
    if (value === undefined || value === null) return null
    return codec ? codec.encode(value as never, column) : (value as SqlValue)
  }
  const optional = columns.filter(column => column.isOptional).map(({ name }) => name)
  const coded = columns.flatMap((column, i) => {
    const codec = codecs[i]
    return codec ? [{ name: column.name, column, decode: codec.decode as (stored: SqlValue, column: Column) => unknown }] : []
  })
  return {
    encode(name, value) {
      const [column, codec] = byName.get(name) ?? []
      return column ? write(value, column, codec) : (value as SqlValue)
    },
    encodeRow: row => columns.map((column, i) => write((row as SqlRow)[column.name], column, codecs[i])),
    // In place: most columns are stored as they are, and a copy of each row costs more than what has to be done to it.
    decodeRow(stored) {
      const row: Record<string, unknown> = stored
      // Absent is undefined in a row that leaves the store: null stays behind.
      for (const name of optional) if (row[name] === null) delete row[name]
      for (const { name, column, decode } of coded) {
        const value = row[name]
        if (value !== undefined) row[name] = decode(value as SqlValue, column)
      }
      return row
    },
  }
}

/** The expression that selects a column; most are their own name. */
export function selectOf({ name, kind }: Pick<Column, 'name' | 'kind'>, dialect: Dialect): string {
  const select = dialect.codecs[kind]?.select
  return select ? `${select(`"${name}"`)} as "${name}"` : `"${name}"`
}
