import type { Database, DialectName, SqlRow, SqlValue } from '@/core/database'
import { idColumn } from './history'
import { declaredForMs, listed, primary, rowOf, type ScheduleRow } from './rows'

/** The table "schedule" as those see it who fire: which rows are due, and what has become of them. */
export interface DueRows {
  /** Those that are due, the longest first, without those that another process writes at this moment. */
  take(nowMs: number, count: number): Promise<ScheduleRow[]>
  /** When the next of them all is, or was, due; undefined when none will be. */
  nextAtMs(nowMs: number): Promise<number | undefined>
  /** How many are due, counted up to 10,000. */
  count(nowMs: number): Promise<number>
  /** Takes those that are still as they were read, for the transaction; others have edited or fired the rest. @returns their ids */
  lock(tx: Database, rows: readonly ScheduleRow[]): Promise<Set<string>>
  /** Compares and sets. @throws Error when one is not as it was read */
  settle(tx: Database, settled: readonly Settled[]): Promise<void>
}

export interface Settled {
  /** As it was read. */
  row: ScheduleRow
  cursorMs: number
  nextAtMs: number | null
  bufferedMs: number | null
  lastTickMs: number | null
  lastTaskId: string | null
  /** How many more are missed. */
  missed: number
  untrimmed: number
}

/** Counting more takes long, and says no more. */
const countMax = 10_000
/**
 * A task that this process does not know another may: one with a newer version of the code. What has not been fired after so long nobody
 * does, and it is missed.
 */
const strangeAfterMs = 30_000

/** @param tasks names of those that may be enqueued here */
export function createDueRows(db: Database, tasks: readonly string[]): DueRows {
  const sql = db.dialect.name === 'sqlite' ? sqlite : server
  const known = tasks.length > 0 ? `"task" in (${tasks.map(() => '?').join(', ')})` : '1 = 0'
  const declared = `("origin" <> 'code' or "declaredAtMs" > ?)`
  const due = `from "schedule" where "isPaused" = 0 and "nextAtMs" <= ? and ${declared} and (${known} or "nextAtMs" <= ?)`
  const dueBy = (nowMs: number): SqlValue[] => [nowMs, nowMs - declaredForMs, ...tasks, nowMs - strangeAfterMs]

  return {
    async take(nowMs, count) {
      const found = await db.all(`select ${listed} ${due} order by "nextAtMs" limit ${count}${sql.unlocked}`, dueBy(nowMs), primary)
      return found.map(rowOf)
    },

    async nextAtMs(nowMs) {
      const row = await db.first(
        `select "nextAtMs" from "schedule" where "isPaused" = 0 and "nextAtMs" is not null and ${declared} and ${known} order by "nextAtMs" limit 1`,
        [nowMs - declaredForMs, ...tasks],
        primary,
      )
      return row && Number(row['nextAtMs'])
    },

    async count(nowMs) {
      const row = await db.first(`select count(*) as "count" from (select "id" ${due} limit ${countMax}) as "some"`, dueBy(nowMs), primary)
      return Number(row?.['count'] ?? 0)
    },

    async lock(tx, rows) {
      const byId = new Map(rows.map(row => [row.id, row]))
      const found = await tx.all(`${sql.lock}${locking[db.dialect.name]}`, [JSON.stringify([...byId.keys()])])
      return new Set(found.filter(row => isAsRead(row, byId.get(String(row['id'])))).map(row => String(row['id'])))
    },

    async settle(tx, settled) {
      if (settled.length === 0) return
      const { changes } = await tx.run(sql.settle, [JSON.stringify(settled.map(storedOf))])
      if (changes !== settled.length) throw new Error(`of ${settled.length} schedules ${changes} were as they had been read`)
    },
  }
}

/** Pausing is an edit, too. */
const compared = ['version', 'cursorMs', 'bufferedMs'] as const

const isAsRead = (row: SqlRow, read: ScheduleRow | undefined): boolean =>
  read !== undefined && compared.every(name => (row[name] === null ? null : Number(row[name])) === read[name])

/** What is null is left out: JSON's null is not SQL's everywhere. */
const storedOf = ({ row, ...set }: Settled) =>
  Object.fromEntries(
    Object.entries({ ...set, id: row.id, version: row.version, wasCursorMs: row.cursorMs, wasBufferedMs: row.bufferedMs }).filter(
      ([, value]) => value !== null,
    ),
  )

const settable = ['cursorMs', 'nextAtMs', 'bufferedMs', 'lastTickMs', 'lastTaskId', 'untrimmed'] as const

/** Rows come as one JSON array, so that any number of them is one statement. */
const sqlite = {
  // There is one writer, and who reads sees what is committed.
  unlocked: '',
  lock: `select "id", ${compared.map(column => `"${column}"`).join(', ')} from "schedule" where "id" in (select value from json_each(?))`,
  settle: `update "schedule" set ${settable.map(column => `"${column}" = "said".value->>'${column}'`).join(', ')},
    "missed" = "missed" + ("said".value->>'missed')
    from json_each(?) as "said" where "schedule"."id" = "said".value->>'id' and "schedule"."version" = "said".value->>'version'
    and "schedule"."cursorMs" = "said".value->>'wasCursorMs' and "schedule"."bufferedMs" is "said".value->>'wasBufferedMs'`,
}

const numbers = [...settable.filter(column => column !== 'lastTaskId'), 'missed', 'version', 'wasCursorMs', 'wasBufferedMs']
const said = `json_table(?, '$[*]' columns (${idColumn('id', '$.id')}, "lastTaskId" varchar(128) path '$.lastTaskId',
  ${numbers.map(column => `"${column}" bigint path '$.${column}'`).join(', ')})) as "said"`
/** Each is looked up by its key, so that no other row is locked. */
const joined = 'straight_join "schedule" force index (primary)'

/** MySQL wants to know that the array is not to be locked, and MariaDB does not know the word. */
const locking: Record<DialectName, string> = {
  sqlite: '',
  mysql: ' for update of "schedule" skip locked',
  mariadb: ' for update skip locked',
}

const server = {
  unlocked: ' for update skip locked',
  lock: `select "schedule"."id", ${compared.map(column => `"schedule"."${column}"`).join(', ')}
    from json_table(?, '$[*]' columns (${idColumn('key', '$')})) as "those"
    ${joined} on "schedule"."id" = "those"."key"`,
  settle: `update ${said} ${joined} on "schedule"."id" = "said"."id" and "schedule"."version" = "said"."version"
    and "schedule"."cursorMs" = "said"."wasCursorMs" and "schedule"."bufferedMs" <=> "said"."wasBufferedMs"
    set ${settable.map(column => `"schedule"."${column}" = "said"."${column}"`).join(', ')}, "schedule"."missed" = "schedule"."missed" + "said"."missed"`,
}
