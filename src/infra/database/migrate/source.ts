import type { Column } from '@/core/column'
import type { AnyTable, Index } from '@/core/table'
import { amongOf, type Difference, sentence } from './drift'
import { recordedType } from './recorded'
import type { LiveColumn, LiveIndex } from './live-tables'

/** A migration as TypeScript, and what whoever asked for it is to know. */
export interface MigrationSource {
  text: string
  /** What was assumed, and what may fail on a database with rows. */
  remarks: string[]
}

/** One change and its way back, each as the elements of an array, in TypeScript. */
interface Step {
  up: string[]
  down: string[]
}

/**
 * Writes the migration that brings the recorded tables to the declared ones, as `replay` found them to differ. Tables that nobody
 * declares any more are never dropped.
 * @throws Error that names the differences which only a person can bridge
 */
export function migrationSource(id: string, found: readonly Difference[]): MigrationSource {
  const byHand = found.filter(isForAPerson)
  if (byHand.length > 0)
    throw new Error(`this has to be written by hand, since its rows have to be converted: ${byHand.map(sentence).join('; ')}`)
  const remarks: string[] = []
  const steps = [...Map.groupBy(found, ({ table }) => table as AnyTable)].flatMap(([table, differences]) =>
    stepsOf(table, differences, remarks),
  )
  const up = steps.flatMap(step => step.up)
  const down = steps.toReversed().flatMap(step => step.down)
  const text = `import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '${id}',
  up: (${wordsIn(up)}) => [${up.join(',\n')}],
  down: (${wordsIn(down)}) => [${down.join(',\n')}],
}
`
  return { text: unmarked(text), remarks }
}

function stepsOf(table: AnyTable, found: readonly Difference[], remarks: string[]): Step[] {
  const name = table.name
  const of = <K extends Difference['is']>(is: K) => found.filter((one): one is Extract<Difference, { is: K }> => one.is === is)
  if (of('missing table').length > 0) return [newTable(table)]
  const isDeletedAt = ({ name }: { name: string }) => name === 'deletedAt'
  const indexesGone = [...of('extra index'), ...of('wrong index')]
  const columnsGone = of('extra column').map(({ live }) => live)
  const columnsNew = of('missing column').map(({ column }) => column)
  for (const { name: column } of columnsGone) remarks.push(`${name}.${column} is dropped with what is in it`)
  const indexesNew = [...of('missing index'), ...of('wrong index')].map(({ index }) => index)
  for (const { columns, isUnique } of indexesNew)
    if (isUnique) remarks.push(`the unique index on ${name} (${columns.join(', ')}) fails where rows have the same values`)
  return [
    ...indexesGone.map(({ live }) => backwards(oldIndex(name, live))),
    ...(columnsNew.some(isDeletedAt) ? [softDelete(name)] : []),
    ...columnsNew.filter(column => !isDeletedAt(column)).map(column => newColumn(name, column, remarks)),
    ...of('wrong column').map(({ column, live }) => changedColumn(name, column, live, remarks)),
    ...(columnsGone.some(isDeletedAt) ? [backwards(softDelete(name))] : []),
    ...columnsGone.filter(live => !isDeletedAt(live)).map(live => backwards(oldColumn(name, live))),
    ...indexesNew.map(index => newIndex(table, index)),
  ]
}

const backwards = ({ up, down }: Step): Step => ({ up: down, down: up })

function newTable(table: AnyTable): Step {
  const columns = (table.columns as Column[])
    .filter(({ name }) => name !== 'deletedAt')
    .map(
      column => `"${column.name}" \${${word(column)}}${column.isOptional ? '' : ' not null'}${column.name === 'id' ? ' primary key' : ''}`,
    )
  const all = table.softDelete ? [...columns, `\${${use('softDeleteColumns')}}`] : columns
  const create = `\`create table "${table.name}" (\n      ${all.join(',\n      ')}\n    ) \${${use('tableOptions')}}\``
  const indexes = (table.indexes as Index[]).flatMap(index => newIndex(table, index).up)
  return { up: [create, ...indexes], down: [`'drop table "${table.name}"'`] }
}

const newIndex = (table: AnyTable, index: Index): Step => indexStep(table.name, index.columns, index.isUnique, amongOf(table, index))
const oldIndex = (table: string, { columns, isUnique, among }: LiveIndex): Step =>
  indexStep(table, columns, isUnique, among === 'live' ? 'live' : 'all')

function indexStep(table: string, columns: readonly string[], isUnique: boolean, among: 'all' | 'live'): Step {
  // A last id is there without being said.
  const said = !isUnique && columns.at(-1) === 'id' ? columns.slice(0, -1) : columns
  const list = `'${table}', [${said.map(column => `'${column}'`).join(', ')}]`
  return {
    up: [isUnique ? `${use('uniqueIndex')}(${list}${among === 'live' ? `, 'live'` : ''})` : `${use('index')}(${list})`],
    down: [`${use('dropIndex')}(${list})`],
  }
}

const softDelete = (table: string): Step => ({
  up: [`...${use('addSoftDelete')}('${table}')`],
  down: [`...${use('dropSoftDelete')}('${table}')`],
})

function newColumn(table: string, column: Column, remarks: string[]): Step {
  const { name, isOptional } = column
  const value = isOptional ? undefined : presentValue(column)
  if (value) remarks.push(`rows that are there already get ${value.says} as ${table}.${name}`)
  return columnStep(table, name, word(column), value?.sql)
}

/** A column that is dropped comes back, on the way down, without what was in it. */
const oldColumn = (table: string, { name, type, isNullable }: LiveColumn): Step =>
  columnStep(table, name, use(type), isNullable ? undefined : zeros(type))

function columnStep(table: string, column: string, type: string, present: string | undefined): Step {
  const required = present === undefined ? '' : ` not null default ${present}`
  return {
    up: [`\`alter table "${table}" add column "${column}" \${${type}}${required}\``],
    down: [`'alter table "${table}" drop column "${column}"'`],
  }
}

function changedColumn(table: string, column: Column, live: LiveColumn, remarks: string[]): Step {
  const declared = (type: string, isOptional: boolean) => (isOptional ? use(type) : `\`\${${use(type)}} not null\``)
  const before = declared(live.type, live.isNullable)
  const after = declared(recordedType(column), column.isOptional)
  const change = (from: string, to: string) => `...${use('changeColumn')}('${table}', '${column.name}', { from: ${from}, to: ${to} })`
  if (live.type !== recordedType(column))
    remarks.push(`${table}.${column.name} becomes ${recordedType(column)}; servers refuse that where a value does not fit`)
  const step = { up: [change(before, after)], down: [change(after, before)] }
  // What was absent needs a value, in whichever direction the column becomes required.
  const fill = ({ sql, says }: Present) => {
    remarks.push(`rows without ${table}.${column.name} get ${says}`)
    return `\`update "${table}" set "${column.name}" = ${sql} where "${column.name}" is null\``
  }
  if (live.isNullable && !column.isOptional) step.up.unshift(fill(presentValue(column)))
  if (!live.isNullable && column.isOptional) step.down.unshift(fill({ sql: zeros(live.type), says: 'the emptiest value on the way down' }))
  return step
}

/** What rows have in a required column that comes when they are there already. */
interface Present {
  sql: string
  says: string
}

function presentValue(column: Column): Present {
  const { kind, schema } = column
  const declared: unknown = schema['default']
  if (kind === 'boolean' && typeof declared === 'boolean') return { sql: declared ? '1' : '0', says: String(declared) }
  if ((kind === 'integer' || kind === 'float') && typeof declared === 'number') return { sql: String(declared), says: String(declared) }
  // Only what needs no escaping on any database.
  if ((kind === 'text' || kind === 'enum') && typeof declared === 'string' && /^[\w .:/-]*$/.test(declared))
    return { sql: `'${declared}'`, says: `'${declared}'` }
  if (kind === 'enum') return { sql: `'${(schema['enum'] as string[])[0]}'`, says: `'${(schema['enum'] as string[])[0]}'` }
  if (kind === 'json') {
    const empty = schema['type'] === 'array' ? '[]' : schema['type'] === 'object' ? '{}' : 'null'
    return { sql: `('${empty}')`, says: empty }
  }
  const zero = zeros(recordedType(column))
  return { sql: zero, says: kind === 'timestamp' ? '1970-01-01T00:00:00.000Z' : zero.replace(/^\((.*)\)$/, '$1') }
}

/** The emptiest value of a recorded type, as a default that every database takes: texts without a length need parentheses. */
function zeros(type: string): string {
  const [base = ''] = type.split('(')
  if (base === 'text') return `''`
  if (base === 'id') return `'00000000-0000-0000-0000-000000000000'`
  if (base === 'date') return `'1970-01-01'`
  if (base === 'timestamp') return `\${${use('epoch')}}`
  if (base === 'longText') return `('')`
  if (base === 'binary') return `(x'')`
  if (base === 'json') return `('null')`
  return '0'
}

/** The recorded type of a column is also what it is called in TypeScript. */
const word = (column: Column) => use(recordedType(column))

/** Marks a word of ColumnWords where it is written, so that the words a migration takes can be listed. */
const mark = '§'
const use = (name: string) => `${mark}${name}`
const unmarked = (text: string) => text.replaceAll(mark, '')

function wordsIn(elements: readonly string[]): string {
  const words = new Set(elements.flatMap(element => [...element.matchAll(/§(\w+)/g)].map(match => match[1])))
  return words.size > 0 ? `{ ${[...words].join(', ')} }` : ''
}

/** A change of type that keeps every value, or that a server refuses where it does not. */
function isForAPerson(difference: Difference): boolean {
  if (difference.is === 'wrong key' || difference.is === 'missing live') return true
  if (difference.is !== 'wrong column') return false
  const [was, is] = [difference.live.type, recordedType(difference.column)]
  return was !== is && familyOf(was) !== familyOf(is)
}

function familyOf(type: string): string {
  const [, base = '', scale = ''] = /^(\w+)(?:\(\d+(?:, (\d+))?\))?$/.exec(type) ?? []
  // SQLite keeps a decimal in units of its last digit, so another scale would be another value.
  return base === 'longText' ? 'text' : base + scale
}
