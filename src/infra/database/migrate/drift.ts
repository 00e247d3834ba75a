import { type Column, columnType } from '@/core/column'
import type { Database } from '@/core/database'
import { type ColumnWords, columnWords } from '@/core/migration'
import type { AnyTable, Index } from '@/core/table'
import { type LiveColumn, type LiveIndex, type LiveTable, readLiveTables } from './live-tables'

/**
 * Where the tables of a database are not as the code declares them, one sentence a difference; empty when all is well. Tables
 * that are not asked for are not looked at, and neither are defaults, since the store writes every column.
 */
export async function drift(db: Database, tables: readonly AnyTable[]): Promise<string[]> {
  const { name } = db.dialect
  const live = await readLiveTables(
    db,
    tables.map(table => table.name),
  )
  const rules: Rules = {
    words: columnWords[name],
    isLiveAColumn: name !== 'sqlite',
    misfit: (expected, column) => misfit(expected, column, name === 'mariadb'),
  }
  return differences(tables, live, rules).map(sentence)
}

export type Difference =
  | { is: 'missing table'; table: AnyTable }
  | { is: 'wrong key'; table: AnyTable; live: LiveTable }
  | { is: 'missing column'; table: AnyTable; column: Column }
  | { is: 'missing live'; table: AnyTable }
  | { is: 'extra column'; table: AnyTable; live: LiveColumn }
  | { is: 'wrong column'; table: AnyTable; column: Column; live: LiveColumn; says: string[] }
  | { is: 'missing index'; table: AnyTable; index: Index }
  | { is: 'extra index'; table: AnyTable; live: LiveIndex }
  | { is: 'wrong index'; table: AnyTable; index: Index; live: LiveIndex }

/** How what is declared reads on one database. */
export interface Rules {
  words: ColumnWords
  /** Whether soft delete has a generated column, `live`, besides `deletedAt`. */
  isLiveAColumn: boolean
  /** What is wrong with a column that should be of this type; undefined when it holds all that it should. */
  misfit(expected: string, live: LiveColumn): string | undefined
}

export function differences(tables: readonly AnyTable[], live: ReadonlyMap<string, LiveTable>, rules: Rules): Difference[] {
  return tables.flatMap((table): Difference[] => {
    const found = live.get(table.name)
    if (!found) return [{ is: 'missing table', table }]
    const wrongKey: Difference[] = found.primaryKey.join() === 'id' ? [] : [{ is: 'wrong key', table, live: found }]
    return [...wrongKey, ...columnDifferences(table, found, rules), ...indexDifferences(table, found)]
  })
}

function columnDifferences(table: AnyTable, found: LiveTable, { words, isLiveAColumn, misfit }: Rules): Difference[] {
  const needsLive = isLiveAColumn && table.softDelete
  const wanted = (table.columns as readonly Column[]).flatMap((column): Difference[] => {
    const live = found.columns.find(({ name }) => name === column.name)
    if (!live) return [{ is: 'missing column', table, column }]
    const wrong = misfit(columnType(column, words), live)
    const says = wrong === undefined ? [] : [wrong]
    if (live.isNullable && !column.isOptional) says.push('may be absent; it should be required')
    if (!live.isNullable && column.isOptional) says.push('is required; it should be optional')
    return says.length > 0 ? [{ is: 'wrong column', table, column, live, says }] : []
  })
  const isWanted = ({ name, isGenerated }: LiveColumn) =>
    table.columns.some((column: Column) => column.name === name) || (needsLive && name === 'live' && isGenerated)
  const missing: Difference[] = needsLive && !found.columns.some(({ name }) => name === 'live') ? [{ is: 'missing live', table }] : []
  return [
    ...wanted,
    ...missing,
    ...found.columns.filter(live => !isWanted(live)).map(live => ({ is: 'extra column', table, live }) as const),
  ]
}

/** Indexes are known by what they hold, not by their names. */
function indexDifferences(table: AnyTable, found: LiveTable): Difference[] {
  const left = new Set(found.indexes)
  const take = (isIt: (live: LiveIndex) => boolean) => {
    const live = [...left].find(isIt)
    if (live) left.delete(live)
    return live
  }
  const isSame = (index: Index, live: LiveIndex) => live.columns.join() === index.columns.join()
  const isRight = (index: Index, live: LiveIndex) =>
    isSame(index, live) && live.isUnique === index.isUnique && live.among === amongOf(table, index)
  // Those that are right are taken first, so that what is left is said against what is left.
  const unmet = (table.indexes as readonly Index[]).filter(index => !take(live => isRight(index, live)))
  const wanted = unmet.map((index): Difference => {
    const live = take(candidate => isSame(index, candidate))
    return live ? { is: 'wrong index', table, index, live } : { is: 'missing index', table, index }
  })
  return [...wanted, ...[...left].map(live => ({ is: 'extra index', table, live }) as const)]
}

/** Rows that are removed do not count for a unique key. */
export const amongOf = (table: AnyTable, index: Index): 'all' | 'live' => (index.isUnique && table.softDelete ? 'live' : 'all')

/** `varchar(32) character set utf8mb4 collate utf8mb4_bin` → its parts. */
const typePattern = /^(\w+)(?:\(([\d,]+)\))?(?: character set \w+ collate (\w+))?$/
const growing = [
  ['tinytext', 'text', 'mediumtext', 'longtext'],
  ['tinyblob', 'blob', 'mediumblob', 'longblob'],
] as const

function misfit(expected: string, live: LiveColumn, isMariadb: boolean): string | undefined {
  // Words that are short for another type.
  const meant = expected === 'boolean' ? 'tinyint(1)' : expected === 'json' && isMariadb ? 'longtext' : expected
  const [, base = '', size = '', collation] = typePattern.exec(meant) ?? []
  const type = size ? `${base}(${size})` : base
  if (!holds(live.type, type)) return `is ${live.type}; it should be ${type}`
  if (collation && live.collation && live.collation !== collation) return `has the collation ${live.collation}; it should have ${collation}`
  return undefined
}

/** Whether a column of type `live` takes all that one of type `wanted` takes, and gives it back the same. */
function holds(live: string, wanted: string): boolean {
  if (live.toLowerCase() === wanted) return true
  const sizes = growing.find(names => (names as readonly string[]).includes(wanted)) as readonly string[] | undefined
  if (sizes) return sizes.indexOf(live) > sizes.indexOf(wanted)
  const [, base, size = '', scale] = /^(\w+)\((\d+)(?:,(\d+))?\)$/.exec(live) ?? []
  const [, wantedBase, wantedSize = '', wantedScale] = /^(varchar|varbinary|decimal)\((\d+)(?:,(\d+))?\)$/.exec(wanted) ?? []
  return base !== undefined && base === wantedBase && scale === wantedScale && Number(size) >= Number(wantedSize)
}

export function sentence(difference: Difference): string {
  const { is, table } = difference
  const on = (columns: readonly string[]) => `(${columns.join(', ')})`
  const kind = ({ isUnique, among }: Pick<LiveIndex, 'isUnique' | 'among'>) =>
    `${isUnique ? 'unique' : 'not unique'}${among === 'all' ? '' : among === 'live' ? ', among the rows that are not removed' : ', among some rows only'}`
  switch (is) {
    case 'missing table':
      return `table ${table.name} is missing`
    case 'wrong key':
      return `the primary key of table ${table.name} is ${on(difference.live.primaryKey)}; it should be (id)`
    case 'missing column':
      return `table ${table.name} has no column ${difference.column.name}`
    case 'missing live':
      return `table ${table.name} has no column live, which its unique indexes need for soft delete`
    case 'extra column':
      return `table ${table.name} has a column ${difference.live.name} that is not declared`
    case 'wrong column':
      return `column ${table.name}.${difference.column.name} ${difference.says.join(', and ')}`
    case 'missing index': {
      const { columns, isUnique } = difference.index
      return `table ${table.name} has no ${isUnique ? 'unique index' : 'index'} on ${on(columns)}`
    }
    case 'extra index':
      return `table ${table.name} has an index ${difference.live.name} on ${on(difference.live.columns)} that is not declared`
    case 'wrong index': {
      const { index, live } = difference
      const wanted = kind({ isUnique: index.isUnique, among: amongOf(table, index) })
      return `the index ${live.name} of table ${table.name} on ${on(live.columns)} is ${kind(live)}; it should be ${wanted}`
    }
  }
}
