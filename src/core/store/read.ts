import type { Database, ReadFrom, SqlValue } from '../database'
import { isUuid } from '../schema'
import type { AnyTable } from '../table'
import { batchMax, type FindOptions, type IterateOptions, type ListOptions, type Page, type ReadOptions, storeErrors } from './contract'
import { filledUp, filter, matchesAll } from './filter'
import { include, neededBy, onlySelected } from './include'
import { decodePageToken, encodePageToken, parsePageSize } from './page'
import { type Plan, planOf, type Row, type Selected } from './plan'

const iterateBatchDefault = 500

type Options = ReadOptions<AnyTable>

/** What asks a database for rows. */
export function readsOf(db: Database, table: AnyTable) {
  const plan = planOf(table, db.dialect)
  const { whole, sql } = plan

  async function get(id: string, options?: Options): Promise<Row | undefined> {
    if (!isUuid(id)) return undefined
    if (options === undefined) {
      const stored = await db.first(sql.get, [id])
      return stored && whole.decode(stored)
    }
    const { selected, live } = shapeOf(plan, options)
    const stored = await db.first(`${selected.text} where "id" = ?${and(live)}`, [id], options)
    return stored && (await completed([selected.decode(stored)], options))[0]
  }

  async function getMany(ids: readonly string[], options: Options = {}): Promise<Row[]> {
    refuseMany(ids.length, 'ids')
    const wanted = [...new Set(ids)].filter(isUuid)
    if (wanted.length === 0) return []
    const { selected, live } = shapeOf(plan, options, ['id'])
    const values: SqlValue[] = wanted
    const stored = await db.all(`${selected.text} where "id" in (${filledUp(wanted.length, values)})${and(live)}`, values, options)
    const byId = new Map(stored.map(row => [row['id'] as string, selected.decode(row)]))
    return completed(
      ids.flatMap(id => byId.get(id) ?? []),
      options,
    )
  }

  async function find(where: object, options: FindOptions<AnyTable> = {}): Promise<Row | undefined> {
    const order = plan.order(options.orderBy)
    const { selected, live } = shapeOf(plan, options)
    const { text, values } = matching(plan, where, live)
    const stored = await db.first(`${selected.text}${text} order by ${order.text} limit 1`, values, options)
    return stored && (await completed([selected.decode(stored)], options))[0]
  }

  async function list(options: ListOptions<AnyTable> = {}): Promise<Page<Row>> {
    const { where = {}, deleted = 'exclude', pageToken } = options
    const order = plan.order(options.orderBy)
    const size = parsePageSize(options.pageSize)
    const { selected, live } = shapeOf(plan, options, order.columns)
    // A token opens only for the query that it continues.
    const purpose = `${order.text} ${deleted} ${hasConditions(where) ? JSON.stringify(where) : ''}`
    const from = pageToken ? { text: order.after, values: order.valuesAfter(decodePageToken(db.seal, purpose, pageToken)) } : undefined
    const { text, values } = matching(plan, where, live, from)
    const counting = options.total ? count(where, options) : undefined
    const reading = db.all(`${selected.text}${text} order by ${order.text} limit ?`, [...values, size + 1], options)
    const [stored, total] = counting ? await Promise.all([reading, counting]) : [await reading]
    const hasMore = stored.length > size
    if (hasMore) stored.pop()
    const rows = stored.map(selected.decode)
    const end = hasMore ? rows.at(-1) : undefined
    const nextPageToken = end ? encodePageToken(db.seal, purpose, valuesOf(end, order.columns)) : ''
    const items = options.include || options.select ? await completed(rows, options) : rows
    return total === undefined ? { items, nextPageToken } : { items, nextPageToken, total }
  }

  async function* iterate(options: IterateOptions<AnyTable> = {}): AsyncGenerator<Row> {
    const size = options.batchSize ?? iterateBatchDefault
    if (!(Number.isInteger(size) && size >= 1 && size <= batchMax)) throw new Error(`batchSize is a whole number from 1 to ${batchMax}`)
    const { selected, live } = shapeOf(plan, options, ['id'])
    let after = ''
    for (;;) {
      const last = after ? { text: '"id" > ?', values: [after] } : undefined
      const { text, values } = matching(plan, options.where ?? {}, live, last)
      const stored = await db.all(`${selected.text}${text} order by "id" limit ?`, [...values, size], options)
      const rows = stored.map(selected.decode)
      after = rows.at(-1)?.id ?? ''
      yield* await completed(rows, options)
      if (rows.length < size) return
    }
  }

  async function count(where: object = {}, options: Pick<Options, 'deleted'> & ReadFrom = {}): Promise<number> {
    const { text, values } = matching(plan, where, liveOf(plan, options.deleted))
    return Number((await db.first(`select count(*) as n from "${table.name}"${text}`, values, options))?.['n'] ?? 0)
  }

  async function exists(where: object, options: Pick<Options, 'deleted'> & ReadFrom = {}): Promise<boolean> {
    const { text, values } = matching(plan, where, liveOf(plan, options.deleted))
    return (await db.first(`select 1 as n from "${table.name}"${text} limit 1`, values, options)) !== undefined
  }

  /** With their relations, and without columns that were read only to follow those. */
  async function completed(rows: Row[], options: Options): Promise<Row[]> {
    if (!options.include && !options.select) return rows
    if (options.include) await include(db, table, rows, options.include, options)
    return options.select ? rows.map(row => onlySelected(row, options)) : rows
  }

  return { get, getMany, find, list, iterate, count, exists }
}

const valuesOf = (row: Row, columns: readonly string[]) => columns.map(column => row[column])

/** What a read selects and which rows count. @param needed columns that the read itself needs */
export function shapeOf(plan: Plan, options: Options, needed: readonly string[] = []): { selected: Selected; live: string } {
  const { select, include: relations } = options
  const live = liveOf(plan, options.deleted)
  if (!select) return { selected: plan.whole, live }
  if (select.length === 0) throw new Error(`table ${plan.table.name}: select names no column`)
  return { selected: plan.selected([...(select as string[]), ...needed, ...neededBy(plan.table, relations)]), live }
}

/** The condition of soft delete, or an empty text. */
function liveOf({ table, live }: Plan, deleted: Options['deleted'] = 'exclude'): string {
  if (!table.softDelete || deleted === 'include') return ''
  return deleted === 'only' ? '"deletedAt" is not null' : live
}

const and = (condition: string) => condition && ` and ${condition}`

/** ` where …` of all conditions, or an empty text. */
export function matching(plan: Plan, where: object, live: string, more?: { text: string; values: readonly SqlValue[] }) {
  const wanted = hasConditions(where) ? filter(where, plan) : undefined
  const clauses = [wanted && !matchesAll(wanted) ? wanted.text : '', live, more?.text].filter(Boolean)
  const values = [...(wanted?.values ?? []), ...(more?.values ?? [])]
  return { text: clauses.length > 0 ? ` where ${clauses.join(' and ')}` : '', values }
}

export function hasConditions(where: object): boolean {
  for (const _ in where) return true
  return false
}

export function refuseMany(count: number, what: string): void {
  if (count > batchMax) throw storeErrors.TooMany({ problems: [{ pointer: what, detail: `at most ${batchMax} at a time, not ${count}` }] })
}
