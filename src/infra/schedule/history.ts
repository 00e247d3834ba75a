import type { Database, SqlRow } from '@/core/database'
import { type TickView, ticksKeptMax } from '@/core/schedule/admin'
import { primary, type ScheduleRow } from './rows'

/**
 * The table "scheduleTick": what became of the last ticks of each schedule. A tick is decided once, so it is there once, or else the transaction
 * that would decide it again fails; runs by hand are beside them.
 */
export interface TickRow {
  scheduleId: string
  /** Of a run by hand when that was. */
  tickMs: number
  what: TickView['what']
  count: number
  atMs: number
  lateMs: number
  taskId: string | null
  outcome: NonNullable<TickView['outcome']> | null
}

export interface ScheduleHistory {
  /** The newest first. @param before what the last of the page before has said */
  list(scheduleId: string, count: number, before?: TickCursor): Promise<TickRow[]>
  /** Of a run by hand: in the transaction that enqueues its task, and has locked the row of the schedule. It comes behind those of the same millisecond. */
  addManual(tx: Database, run: { scheduleId: string; atMs: number; taskId: string }): Promise<void>
  /** What ticks became of. None of them may be there. */
  add(tx: Database, rows: readonly TickRow[]): Promise<void>
  /** Which of these ticks of a schedule are there; one that waits as the row says is not decided. */
  decided(row: Pick<ScheduleRow, 'id' | 'bufferedMs'>, ticksMs: readonly number[]): Promise<Set<number>>
  /** Those that were buffered are decided now, and added anew. */
  dropBuffered(tx: Database, rows: readonly Pick<TickRow, 'scheduleId' | 'tickMs'>[]): Promise<void>
  /** Removes all but the last. */
  trim(tx: Database, scheduleIds: readonly string[]): Promise<void>
}
export type TickCursor = Pick<TickRow, 'tickMs'> & { isManual: boolean }

/** The outcome of a task is looked for so long after it was enqueued, at first. */
export const firstLookMs = 5000

const written = [
  'scheduleId',
  'tickMs',
  'isManual',
  'what',
  'count',
  'atMs',
  'lateMs',
  'taskId',
  'outcome',
  'lookAtMs',
  'seenAtMs',
] as const
const listed = written.map(column => `"${column}"`).join(', ')

export function createHistory(db: Database): ScheduleHistory {
  const sql = db.dialect.name === 'sqlite' ? sqlite : server
  const add: ScheduleHistory['add'] = async (tx, rows) => {
    if (rows.length > 0) await tx.run(sql.insert, [JSON.stringify(rows.map(storedOf))])
  }
  const trim: ScheduleHistory['trim'] = async (tx, scheduleIds) => {
    if (scheduleIds.length > 0) await tx.run(sql.trim, [JSON.stringify(scheduleIds)])
  }
  return {
    add,
    trim,

    async list(scheduleId, count, before) {
      const older = before ? `and ("tickMs" < ? or ("tickMs" = ? and "isManual" < ?))` : ''
      const params = before ? [before.tickMs, before.tickMs, before.isManual ? 1 : 0] : []
      const found = await db.all(
        `select ${listed} from "scheduleTick" where "scheduleId" = ? ${older} order by "tickMs" desc, "isManual" desc limit ${count}`,
        [scheduleId, ...params],
        primary,
      )
      return found.map(tickOf)
    },

    async addManual(tx, { scheduleId, atMs, taskId }) {
      // Of runs at the same time the others have waited for the row of the schedule, and are there by now: what a snapshot says is older.
      const newest = await tx.first(
        `select "tickMs" from "scheduleTick" where "scheduleId" = ? and "tickMs" >= ? and "isManual" = 1 order by "tickMs" desc limit 1${tx.dialect.forUpdate}`,
        [scheduleId, atMs],
      )
      const tickMs = newest ? Number(newest['tickMs']) + 1 : atMs
      await add(tx, [{ ...{ scheduleId, tickMs, what: 'manual', count: 1, atMs, lateMs: 0 }, taskId, outcome: 'pending' }])
      await trim(tx, [scheduleId])
    },

    async decided({ id, bufferedMs }, ticksMs) {
      if (ticksMs.length === 0) return new Set()
      // They are few: all those that are kept, and a few more.
      const found = await db.all(
        `select "tickMs", "what" from "scheduleTick" where "scheduleId" = ? and "isManual" = 0 and "tickMs" between ? and ?`,
        [id, Math.min(...ticksMs), Math.max(...ticksMs)],
        primary,
      )
      const there = found.filter(({ tickMs, what }) => what !== 'buffered' || Number(tickMs) !== bufferedMs)
      return new Set(there.map(({ tickMs }) => Number(tickMs))).intersection(new Set(ticksMs))
    },

    async dropBuffered(tx, rows) {
      if (rows.length > 0) await tx.run(sql.dropBuffered, [JSON.stringify(rows)])
    },
  }
}

/** Absent values are left out: JSON's null is not SQL's everywhere. */
const storedOf = ({ taskId, outcome, ...row }: TickRow) => ({
  ...row,
  isManual: row.what === 'manual' ? 1 : 0,
  ...(taskId !== null && { taskId }),
  ...(outcome !== null && { outcome }),
  ...(outcome === 'pending' && { lookAtMs: row.atMs + firstLookMs, seenAtMs: row.atMs }),
})

export const tickOf = (row: SqlRow): TickRow => ({
  ...{ scheduleId: String(row['scheduleId']), tickMs: Number(row['tickMs']), what: String(row['what']) as TickRow['what'] },
  ...{ count: Number(row['count']), atMs: Number(row['atMs']), lateMs: Number(row['lateMs']) },
  taskId: row['taskId'] === null ? null : String(row['taskId']),
  outcome: row['outcome'] === null ? null : (String(row['outcome']) as TickRow['outcome']),
})

/** All but the newest of each schedule. */
const old = (ids: string) =>
  `select "scheduleId", "tickMs", "isManual" from (
    select "scheduleId", "tickMs", "isManual", row_number() over (partition by "scheduleId" order by "tickMs" desc, "isManual" desc) as "place"
    from "scheduleTick" where "scheduleId" in (${ids})
  ) as "placed" where "place" > ${ticksKeptMax}`

/** Rows come as one JSON array, so that any number of them is one statement. */
const sqlite = {
  insert: `insert into "scheduleTick" (${listed}) select ${written.map(column => `value->>'${column}'`).join(', ')} from json_each(?)`,
  dropBuffered: `delete from "scheduleTick" where "what" = 'buffered' and ("scheduleId", "tickMs") in
    (select value->>'scheduleId', value->>'tickMs' from json_each(?))`,
  trim: `delete from "scheduleTick" where ("scheduleId", "tickMs", "isManual") in (${old('select value from json_each(?)')})`,
}

/** Of an id, so that its rows are found by their keys. */
export const idColumn = (name: string, path: string) => `"${name}" char(36) character set ascii collate ascii_bin path '${path}'`
const types: Partial<Record<(typeof written)[number], string>> = { what: 'varchar(16)', taskId: 'varchar(128)', outcome: 'varchar(16)' }
const tickColumns = written.map(column =>
  column === 'scheduleId' ? idColumn(column, `$.${column}`) : `"${column}" ${types[column] ?? 'bigint'} path '$.${column}'`,
)
const server = {
  insert: `insert into "scheduleTick" (${listed}) select ${listed} from json_table(?, '$[*]' columns (${tickColumns.join(', ')})) as "said"`,
  dropBuffered: `delete "scheduleTick" from json_table(?, '$[*]' columns (${idColumn('id', '$.scheduleId')}, "ms" bigint path '$.tickMs')) as "said"
    straight_join "scheduleTick" force index (primary)
    on "scheduleTick"."scheduleId" = "said"."id" and "scheduleTick"."tickMs" = "said"."ms" and "scheduleTick"."isManual" = 0 and "scheduleTick"."what" = 'buffered'`,
  trim: `delete "scheduleTick" from (${old(`select "id" from json_table(?, '$[*]' columns (${idColumn('id', '$')})) as "said"`)}) as "old"
    straight_join "scheduleTick" force index (primary)
    on "scheduleTick"."scheduleId" = "old"."scheduleId" and "scheduleTick"."tickMs" = "old"."tickMs" and "scheduleTick"."isManual" = "old"."isManual"`,
}
