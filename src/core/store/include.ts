import type { Database, ReadFrom, SqlValue } from '../database'
import type { AnyTable, Relation, Relations } from '../table'
import { includedDefault, includedMax, includedRowsMax, type IncludeMany, type Include, type Selection, storeErrors } from './contract'
import { filledUp } from './filter'
import { planOf, type Row } from './plan'
import { matching, shapeOf } from './read'

/** Relations of rows that were read: one query a relation, however many rows there are (no N + 1). */

const depthMax = 3
type Wanted = Include<AnyTable> & Record<string, unknown>

export async function include(db: Database, table: AnyTable, rows: Row[], wanted: object, from: ReadFrom, depth = 1): Promise<void> {
  if (rows.length === 0) return
  if (depth > depthMax) throw new Error(`include goes at most ${depthMax} tables deep`)
  for (const [name, options] of Object.entries(wanted as Wanted)) {
    if (options === undefined) continue
    const relation = relationOf(table, name)
    const asked = options === true ? {} : (options as IncludeMany<AnyTable>)
    const load = relation.kind === 'one' ? loadOne : loadMany
    await load(db, relation, rows, name, { ...asked, ...(from.from && { from: from.from }) }, depth)
  }
}

function relationOf(table: AnyTable, name: string): Relation {
  const relations = table.relations as Relations
  const relation = Object.hasOwn(relations, name) ? relations[name] : undefined
  if (!relation) throw new Error(`table ${table.name} has no relation ${name}`)
  return relation
}

type Asked = IncludeMany<AnyTable> & ReadFrom

async function loadOne(db: Database, { table, column }: Relation, rows: Row[], name: string, asked: Asked, depth: number): Promise<void> {
  const ids: SqlValue[] = [...new Set(rows.flatMap(row => (row[column] as string | undefined) ?? []))]
  const plan = planOf(table, db.dialect)
  const { selected, live } = shapeOf(plan, asked, ['id'])
  const byId = new Map<unknown, Row>()
  if (ids.length > 0) {
    const list = `"id" in (${filledUp(ids.length, ids)})`
    const { text, values } = matching(plan, {}, live, { text: list, values: ids })
    for (const stored of await db.all(`${selected.text}${text}`, values, asked)) byId.set(stored['id'], selected.decode(stored))
    await deeper(db, table, [...byId.values()], asked, depth)
  }
  for (const row of rows) {
    const found = byId.get(row[column])
    row[name] = found && onlySelected(found, asked)
  }
}

async function loadMany(db: Database, { table, column }: Relation, rows: Row[], name: string, asked: Asked, depth: number): Promise<void> {
  const limit = asked.limit ?? includedDefault
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= includedMax))
    throw new Error(`include ${name}: limit is from 1 to ${includedMax}`)
  if (rows.length * limit > includedRowsMax) {
    const detail = `may bring ${rows.length * limit} rows, more than ${includedRowsMax}: ask for fewer rows or a lower limit`
    throw storeErrors.TooMany({ problems: [{ pointer: `include.${name}`, detail }] })
  }
  const ids: SqlValue[] = [...new Set(rows.map(row => row.id))]
  const plan = planOf(table, db.dialect)
  const { selected, live } = shapeOf(plan, asked, ['id', column])
  const { text, values } = matching(plan, asked.where ?? {}, live, { text: `"${column}" in (${filledUp(ids.length, ids)})`, values: ids })
  // Ranked within each owner, so that one with many rows does not crowd out the others.
  const rank = `row_number() over (partition by "${column}" order by ${plan.order(asked.orderBy).text}) as "row rank"`
  const ranked = `select ${selected.list}, ${rank} from "${table.name}"${text}`
  const query = `select ${selected.names} from (${ranked}) as "ranked" where "row rank" <= ? order by "row rank"`
  const stored = await db.all(query, [...values, limit], asked)
  const found = stored.map(selected.decode)
  await deeper(db, table, found, asked, depth)
  const byOwner = Map.groupBy(found, row => row[column])
  for (const row of rows) row[name] = (byOwner.get(row.id) ?? []).map(each => onlySelected(each, asked))
}

const deeper = async (db: Database, table: AnyTable, rows: Row[], asked: Asked, depth: number) =>
  asked.include && include(db, table, rows, asked.include, asked, depth + 1)

/** Columns that have to be read to follow relations. */
export function neededBy(table: AnyTable, wanted: object | undefined): string[] {
  return Object.keys(wanted ?? {}).map(name => {
    const { kind, column } = relationOf(table, name)
    return kind === 'one' ? column : 'id'
  })
}

/** The row without columns that nobody asked for. */
export function onlySelected(row: Row, { select, include: relations }: Selection<AnyTable>): Row {
  if (!select) return row
  const names = [...(select as string[]), ...Object.keys(relations ?? {})]
  return Object.fromEntries(
    names.filter(name => row[name] !== undefined || name in (relations ?? {})).map(name => [name, row[name]]),
  ) as Row
}
