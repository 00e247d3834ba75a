import { type Column, columnOf } from './column'
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
const deletedAt = Type.Optional(Timestamp('When it was removed.'))
/** Words of a filter, and of the database, which no column may be named. */
const reserved = ['and', 'or', 'not', 'live']

type Kept = typeof kept
type Columns = Record<string, TSchema>
type Stamps<D extends boolean> = Omit<Kept, 'id'> & (D extends true ? { deletedAt: typeof deletedAt } : unknown)

export type TableSchema<C extends Columns, D extends boolean = false> = TObject<Pick<Kept, 'id'> & C & Stamps<D>>

export interface UniqueKey {
  columns: readonly string[]
  /** What to throw when another row has these values. */
  taken: () => AppError
}

/** What is known of a table from its schema. Rows are typed by `RowOf<typeof table>`. */
export interface Table<S extends TObject = TObject, Rel extends Relations = Relations> {
  readonly name: string
  readonly schema: S
  readonly columns: readonly Column[]
  readonly unique: readonly UniqueKey[]
  /** Columns that a list can be ordered by; never null, and each with an index that ends in `id`. */
  readonly sortable: readonly string[]
  /** Every index that the table is to have, besides its primary key. */
  readonly indexes: readonly Index[]
  /** Rows that are removed stay, with `deletedAt`, and are left out of everything unless asked for. */
  readonly softDelete: boolean
  /** How long copies of rows are kept, in milliseconds; undefined when none are. */
  readonly cacheTtlMs: number | undefined
  readonly relations: Rel
}

export interface Index {
  readonly columns: readonly string[]
  readonly isUnique: boolean
}

export interface Relation<T extends AnyTable = AnyTable, K extends 'one' | 'many' = 'one' | 'many'> {
  readonly kind: K
  readonly table: T
  /** The column that holds the other's id: of this table for `one`, of the other for `many`. */
  readonly column: string
}
export type Relations = Record<string, Relation>
// biome-ignore lint/suspicious/noExplicitAny: a relation leads to tables of every type
export type AnyTable = Table<any, any>

export interface TableOptions<Name extends string, D extends boolean> {
  /** In order of precedence: when a row breaks two keys, the first is the one that is reported. */
  unique?: readonly UniqueKey[]
  sortable?: readonly Name[]
  /** More indexes, such as those of filters that lists use; each is made to end in `id`. */
  indexes?: readonly (readonly Name[])[]
  softDelete?: D
  /** Keeps copies of rows that are read by id or by a unique key. No copy is older than `ttlMs`, 100–86,400,000. */
  cache?: { ttlMs: number }
}

/**
 * Declares a table. The schema is the truth: types, validation, views and columns come from it. `id`, `createdAt`, `updatedAt`
 * and `version` are added, and `deletedAt` with `softDelete`.
 * @throws Error at start when a column's type cannot be stored
 */
export function defineTable<const C extends Columns, const D extends boolean = false>(
  name: string,
  columns: C,
  options: TableOptions<Extract<keyof C | keyof Kept, string>, D> = {},
): Table<TableSchema<C, D>, Record<never, never>> {
  if (!/^[a-z][A-Za-z0-9_]{0,40}$/.test(name) || name === 'migration')
    throw new Error(`a table cannot be named ${name}; use a noun in the singular, and not migration, where bingo notes its own`)
  const { id, ...stamps } = kept
  for (const column of Object.keys(columns)) refuseName(name, column, Object.keys(columns))
  const softDelete = options.softDelete === true
  const properties: Columns = { id, ...columns, ...stamps, ...(softDelete ? { deletedAt } : {}) }
  const schema = Type.Object(properties, { additionalProperties: false }) as unknown as TableSchema<C, D>
  const required = new Set<string>(schema.required as readonly string[] | undefined)
  const made = Object.entries(properties).map(([column, type]) => columnOf(name, column, type, !required.has(column)))
  const sortable = options.sortable ?? ['id']
  for (const column of sortable) {
    refuseUnsortable(name, made, column)
    // Rows without the value would fall out of every page after the first.
    if (!required.has(column)) throw new Error(`table ${name}: a list cannot be ordered by ${column}, which may be absent`)
  }
  const unique = options.unique ?? []
  const cacheTtlMs = options.cache?.ttlMs
  if (cacheTtlMs !== undefined && !(cacheTtlMs >= 100 && cacheTtlMs <= 86_400_000))
    throw new Error(`table ${name}: cache.ttlMs is ${cacheTtlMs}; it must be from 100 to 86,400,000`)
  const indexes = indexesOf(unique, sortable, options.indexes ?? [])
  for (const column of new Set(indexes.flatMap(index => index.columns))) refuseUnindexable(name, made, column)
  refuseWide(name, made, indexes)
  return { name, schema, columns: made, unique, sortable, indexes, softDelete, cacheTtlMs, relations: {} }
}

function refuseName(table: string, column: string, all: readonly string[]): void {
  if (all.some(other => other !== column && other.toLowerCase() === column.toLowerCase()))
    throw new Error(`table ${table}: two columns are named ${column}, which databases do not tell apart by case`)
  if (column in kept || column === 'deletedAt') throw new Error(`table ${table}: the store keeps the column ${column}; do not declare it`)
  if (reserved.includes(column) || !/^[a-z][A-Za-z0-9]*$/.test(column))
    throw new Error(`table ${table}: a column cannot be named ${column}; use a noun in camelCase, none of ${reserved.join(', ')}`)
}

function refuseUnsortable(table: string, columns: readonly Column[], name: string): void {
  const column = columns.find(known => known.name === name)
  if (!column) throw new Error(`table ${table}: a list cannot be ordered by ${name}, which is no column`)
  // A page token holds the value in a form that its bearer can read.
  if (column.isSecret) throw new Error(`table ${table}: a list cannot be ordered by ${name}, which is secret`)
  if (column.kind === 'binary') throw new Error(`table ${table}: a list cannot be ordered by ${name}, which is bytes`)
}

/** Of InnoDB: an index of 3,072 bytes, a row of 65,535 without its long texts. So what SQLite takes, the servers do, too. */
const indexBytesMax = 3072
const rowBytesMax = 65_535

/** Bytes of a column in an index or a row at most; 40 is more than any of a fixed size takes. */
const bytesOf = ({ kind, length = 0 }: Column): number =>
  kind === 'text' || kind === 'enum' ? length * 4 + 2 : kind === 'binary' ? (length > 16_000 ? 20 : length + 2) : 40

function refuseWide(table: string, columns: readonly Column[], indexes: readonly Index[]): void {
  const sum = (some: readonly Column[]) => some.reduce((bytes, column) => bytes + bytesOf(column), 0)
  for (const { columns: names } of indexes) {
    const bytes = sum(columns.filter(({ name }) => names.includes(name)))
    if (bytes > indexBytesMax)
      throw new Error(
        `table ${table}: the index of ${names.join(', ')} may take ${bytes} bytes, more than ${indexBytesMax}; lower a maxLength`,
      )
  }
  const bytes = sum(columns)
  if (bytes > rowBytesMax)
    throw new Error(
      `table ${table}: a row may take ${bytes} bytes, more than ${rowBytesMax}; lower a maxLength, or leave it out for a long text`,
    )
}

function indexesOf(unique: readonly UniqueKey[], sortable: readonly string[], more: readonly (readonly string[])[]): Index[] {
  const found: Index[] = unique.map(({ columns }) => ({ columns, isUnique: true }))
  const wanted = [...sortable.filter(column => column !== 'id').map(column => [column]), ...more]
  for (const columns of wanted) {
    // A unique index of the same columns gives the order already, and has the name.
    if (unique.some(key => key.columns.join() === columns.join())) continue
    const full = columns.at(-1) === 'id' ? columns : [...columns, 'id']
    if (!found.some(index => index.columns.join() === full.join())) found.push({ columns: full, isUnique: false })
  }
  return found
}

/** Longest text in an index: InnoDB's 3,072 bytes, at four bytes a character. */
const indexedLengthMax = 768

function refuseUnindexable(table: string, columns: readonly Column[], name: string): void {
  const column = columns.find(known => known.name === name)
  if (!column) throw new Error(`table ${table} has no column ${name}`)
  if (column.kind === 'json') throw new Error(`column ${table}.${name} cannot be indexed: it is JSON`)
  if (column.kind === 'longText' || (column.length ?? 0) > indexedLengthMax)
    throw new Error(`column ${table}.${name} cannot be indexed; give it a maxLength of at most ${indexedLengthMax}`)
}

/** Each row has the id of one of `table` in `column`. */
export const belongsTo = <T extends AnyTable>(table: T, column: string): Relation<T, 'one'> => ({ kind: 'one', table, column })
/** Rows of `table` have this one's id in `column`. */
export const hasMany = <T extends AnyTable>(table: T, column: string): Relation<T, 'many'> => ({ kind: 'many', table, column })

/**
 * The table with ways to others, which `include` follows. Said apart from `defineTable`, so that two tables can lead to each other.
 * @throws Error at start when a column is missing or has no index to follow
 */
export function relate<S extends TObject, Rel extends Relations, const More extends Relations>(
  table: Table<S, Rel>,
  relations: More,
): Table<S, Rel & More> {
  for (const [name, { kind, table: other, column }] of Object.entries(relations)) {
    const holder: AnyTable = kind === 'one' ? table : other
    const where = `relation ${table.name}.${name}`
    if (!holder.columns.some(known => known.name === column)) throw new Error(`${where}: table ${holder.name} has no column ${column}`)
    if (kind === 'many' && !other.indexes.some((index: Index) => index.columns[0] === column))
      throw new Error(`${where}: add indexes: [['${column}']] to table ${other.name}`)
    if (table.columns.some(known => known.name === name)) throw new Error(`${where} is named as a column`)
  }
  return { ...table, relations: { ...table.relations, ...relations } }
}

// biome-ignore lint/suspicious/noExplicitAny: whatever its relations
export type RowOf<T> = T extends Table<infer S, any> ? Of<S> : never

/** The names of a table's unique keys, as drivers report them. */
export const uniqueKeyOf = (table: AnyTable, key: UniqueKey): string => uniqueKeyName(table.name, key.columns)
