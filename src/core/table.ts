import type { Codec, ColumnKind, Dialect, SqlRow, SqlValue } from './database'
import { uniqueKeyName } from './database'
import type { AppError } from './error'
import { Id, type Of, Timestamp, type TObject, type TSchema, Type } from './schema'

/** Columns that every table has and the store keeps. */
const kept = {
  id: Id(),
  createdAt: Timestamp('When it was made.'),
  updatedAt: Timestamp('When it was last changed.'),
  version: Type.Integer({ minimum: 1, description: 'Goes up by one with each change.' }),
}
type Kept = typeof kept
type Columns = Record<string, TSchema>

export type TableSchema<C extends Columns> = TObject<Pick<Kept, 'id'> & C & Omit<Kept, 'id'>>

export interface UniqueKey {
  columns: readonly string[]
  /** What to throw when another row has these values. */
  taken: () => AppError
}

/** What is known of a table from its schema. Rows are typed by `Of<typeof table.schema>`. */
export interface Table<S extends TObject = TObject> {
  readonly name: string
  readonly schema: S
  readonly columns: readonly Column[]
  readonly unique: readonly UniqueKey[]
  /** Columns that a list can be ordered by; never null, and each with an index that ends in `id`. */
  readonly sortable: readonly string[]
}

export interface Column {
  readonly name: string
  readonly kind: ColumnKind
}

/**
 * Declares a table. The schema is the truth: types, validation, views and columns come from it. `id`, `createdAt`, `updatedAt`
 * and `version` are added.
 *
 * @param unique in order of precedence: when a row breaks two keys, the first is the one that is reported
 * @throws Error at start when a column's type cannot be stored
 */
export function defineTable<const C extends Columns>(
  name: string,
  columns: C,
  options: { unique?: readonly UniqueKey[]; sortable?: readonly Extract<keyof C | keyof Kept, string>[] } = {},
): Table<TableSchema<C>> {
  const { id, ...stamps } = kept
  for (const column of Object.keys(columns)) {
    if (column in kept) throw new Error(`table ${name}: every table has the column ${column}; do not declare it`)
  }
  const schema = Type.Object({ id, ...columns, ...stamps }, { additionalProperties: false }) as unknown as TableSchema<C>
  for (const column of options.sortable ?? []) {
    // Rows without the value would fall out of every page after the first.
    if (!(schema.required as readonly string[] | undefined)?.includes(column))
      throw new Error(`table ${name}: a list cannot be ordered by ${column}, which may be absent`)
  }
  return {
    name,
    schema,
    columns: Object.entries(schema.properties as Columns).map(([column, type]) => ({
      name: column,
      kind: kindOf(`${name}.${column}`, type),
    })),
    unique: options.unique ?? [],
    sortable: options.sortable ?? ['id'],
  }
}

function kindOf(column: string, schema: TSchema): ColumnKind {
  if (schema['type'] === 'string') return schema['format'] === 'date-time' ? 'timestamp' : 'text'
  if (schema['type'] === 'integer') return 'integer'
  if (schema['type'] === 'boolean') return 'boolean'
  throw new Error(`column ${column}: there is no column type for this schema; use a string, an integer, a boolean or a Timestamp`)
}

export type RowOf<T> = T extends Table<infer S> ? Of<S> : never

/** How a table's rows go in and out of a database of one dialect. */
export interface RowCodec {
  encode(column: string, value: unknown): SqlValue
  /** All columns in the order of the table. */
  encodeRow(row: object): SqlValue[]
  decodeRow(stored: SqlRow): object
}

export function rowCodec(table: Table, dialect: Dialect): RowCodec {
  const names = table.columns.map(column => column.name)
  const codecs = table.columns.map(column => dialect.codecs[column.kind])
  const byName = new Map(table.columns.map((column, i) => [column.name, codecs[i]]))
  const write = (value: unknown, codec: Codec | undefined): SqlValue => {
    if (value === undefined || value === null) return null
    return codec ? codec.encode(value as never) : (value as SqlValue)
  }
  return {
    encode: (column, value) => write(value, byName.get(column)),
    encodeRow: row => names.map((name, i) => write((row as SqlRow)[name], codecs[i])),
    decodeRow(stored) {
      const row: Record<string, unknown> = {}
      for (let i = 0; i < names.length; i++) {
        const name = names[i] as string
        const value = stored[name]
        // Absent is undefined in a row that leaves the store: null stays behind.
        if (value === null || value === undefined) continue
        const codec = codecs[i]
        row[name] = codec ? codec.decode(value as never) : value
      }
      return row
    },
  }
}

/** The names of a table's unique keys, as drivers report them. */
export const uniqueKeyOf = (table: Table, key: UniqueKey): string => uniqueKeyName(table.name, key.columns)
