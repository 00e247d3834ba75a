import type { Database, SqlRow, SqlValue } from '@/core/database'
import { isUuid } from '@/core/schema'
import { type CatchUp, type Overlap, overlaps, type ScheduleRules } from '@/core/schedule/schedule'
import { readJson } from '../queue/json'

/**
 * The table "schedule", one row a schedule, also of those in code. Instants are milliseconds by the clock of the schedulers, which is the
 * database server's. Who fires changes a row only if it is as it was read, by `version`, `cursorMs` and `bufferedMs`; who edits one counts up
 * its `version`, and firing does not.
 */
export interface ScheduleRow extends ScheduleRules {
  id: string
  name: string
  origin: 'code' | 'database'
  task: string
  /** Undefined when what is stored is no JSON: then `fault` says so. */
  payload: unknown
  isPaused: boolean
  /** All ticks up to it are decided: fired, skipped or missed. It never goes back. */
  cursorMs: number
  /** When to look again: when the next tick is due, with its jitter, or sooner. Null when nothing comes. */
  nextAtMs: number | null
  /** The last tick whose task was enqueued, and that task, whose end others may wait for. */
  lastTickMs: number | null
  lastTaskId: string | null
  /** A tick that waits for the end of that task. */
  bufferedMs: number | null
  /** How many ticks were never fired. */
  missed: number
  /** How many rows of history it has got since it was trimmed. */
  untrimmed: number
  /** When a process last said that its code declares it so; null of one that is not in code. */
  declaredAtMs: number | null
  createdAtMs: number
  updatedAtMs: number
  version: number
  /** What of the row cannot be understood; somebody has changed it by hand. */
  fault?: string
}

/** What is said of a new one. */
export type NewSchedule = Omit<
  ScheduleRow,
  'id' | 'lastTickMs' | 'lastTaskId' | 'bufferedMs' | 'missed' | 'untrimmed' | 'createdAtMs' | 'updatedAtMs' | 'version' | 'fault'
>

/** What an edit says anew. `updatedAtMs` must be said, since who edits knows the time. */
export type ScheduleChange = Partial<Omit<ScheduleRow, 'id' | 'createdAtMs' | 'updatedAtMs' | 'version' | 'fault'>> & {
  updatedAtMs: number
}

/** Reads and writes that know nothing of ticks. Those that take `on` may be part of a transaction. */
export interface ScheduleRows {
  /** @param which id or name. @param on a transaction keeps it as it is until its end */
  get(which: string, on?: Database): Promise<ScheduleRow | undefined>
  /** In the order of their names. */
  list(count: number, afterName?: string): Promise<ScheduleRow[]>
  /** Those that have one of these names. @param on a transaction keeps them as they are until its end */
  named(names: readonly string[], on?: Database): Promise<ScheduleRow[]>
  /** @returns its id. @throws UniqueViolation when the name is taken */
  insert(row: NewSchedule, atMs: number, on?: Database): Promise<string>
  /** Counts up the version. @returns false when it has another version than this by now, or is gone. @throws UniqueViolation when the name is taken */
  change(id: string, version: number, change: ScheduleChange, on?: Database): Promise<boolean>
  /** With its history, in one transaction. @returns false as `change` does */
  remove(id: string, version: number, on?: Database): Promise<boolean>
}

const columns = [
  ...['id', 'name', 'origin', 'cron', 'timeZone', 'task', 'payload', 'overlap', 'catchUp', 'catchUpWindowMs', 'jitterMs', 'isPaused'],
  ...['cursorMs', 'nextAtMs', 'lastTickMs', 'lastTaskId', 'bufferedMs', 'missed', 'untrimmed', 'declaredAtMs'],
  ...['createdAtMs', 'updatedAtMs', 'version'],
] as const
/** All columns of a row, for `rowOf`. */
export const listed = columns.map(column => `"${column}"`).join(', ')
export const primary = { from: 'primary' } as const

export function createScheduleRows(db: Database): ScheduleRows {
  const one = async (column: 'id' | 'name', value: string, on: Database) => {
    const row = await on.first(`select ${listed} from "schedule" where "${column}" = ?${locked(on)}`, [value], primary)
    return row && rowOf(row)
  }
  return {
    // A name may look like an id.
    get: async (which, on = db) => (isUuid(which) ? await one('id', which, on) : undefined) ?? (await one('name', which, on)),

    async list(count, afterName = '') {
      const sql = `select ${listed} from "schedule" where "name" > ? order by "name" limit ${count}`
      return (await db.all(sql, [afterName], primary)).map(rowOf)
    },

    async named(names, on = db) {
      if (names.length === 0) return []
      const sql = `select ${listed} from "schedule" where "name" in (${names.map(() => '?').join(', ')})${locked(on)}`
      return (await on.all(sql, names, primary)).map(rowOf)
    },

    async insert(row, atMs, on = db) {
      const id = Bun.randomUUIDv7()
      const values = valuesOf({
        ...{ id, ...row, lastTickMs: null, lastTaskId: null, bufferedMs: null, missed: 0, untrimmed: 0 },
        ...{ createdAtMs: atMs, updatedAtMs: atMs, version: 1 },
      })
      await on.run(
        `insert into "schedule" (${listed}) values (${columns.map(() => '?').join(', ')})`,
        columns.map(column => values[column] ?? null),
      )
      return id
    },

    async change(id, version, change, on = db) {
      const values = Object.entries(valuesOf(change))
      const sets = values.map(([column]) => `"${column}" = ?`).join(', ')
      const { changes } = await on.run(`update "schedule" set ${sets}, "version" = "version" + 1 where "id" = ? and "version" = ?`, [
        ...values.map(([, value]) => value),
        id,
        version,
      ])
      return changes > 0
    },

    remove: (id, version, on = db) =>
      on.tx(async tx => {
        // Itself first: who fires it now has the row, and writes no history after that.
        const { changes } = await tx.run('delete from "schedule" where "id" = ? and "version" = ?', [id, version])
        if (changes > 0) await tx.run('delete from "scheduleTick" where "scheduleId" = ?', [id])
        return changes > 0
      }),
  }
}

const locked = (on: Database): string => (on.inTransaction ? on.dialect.forUpdate : '')

/** As they are stored, by column. */
function valuesOf(row: Partial<Omit<ScheduleRow, 'fault'>>): Record<string, SqlValue> {
  const { payload, catchUp, isPaused, ...plain } = row
  const values: Record<string, SqlValue> = {
    ...Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== undefined)),
    ...('payload' in row && { payload: JSON.stringify(payload) }),
    ...(catchUp !== undefined && { catchUp: catchUpText(catchUp) }),
    ...(isPaused !== undefined && { isPaused: isPaused ? 1 : 0 }),
  }
  return values
}

/** What somebody has changed by hand must not keep the rows beside it from being read. */
export function rowOf(row: SqlRow): ScheduleRow {
  const payload = readJson(String(row['payload']))
  const catchUp = readCatchUp(String(row['catchUp']))
  const overlap = overlaps.find(each => each === row['overlap'])
  const odd = Object.entries({ payload, catchUp, overlap }).find(([, value]) => value === undefined)
  return {
    ...{ id: String(row['id']), name: String(row['name']), origin: row['origin'] === 'code' ? 'code' : 'database' },
    ...{ cron: String(row['cron']), timeZone: String(row['timeZone']), task: String(row['task']), payload },
    ...{ overlap: overlap ?? ('skip' satisfies Overlap), catchUp: catchUp ?? 'none' },
    ...{ catchUpWindowMs: Number(row['catchUpWindowMs']), jitterMs: Number(row['jitterMs']), isPaused: Number(row['isPaused']) === 1 },
    ...{ cursorMs: Number(row['cursorMs']), nextAtMs: msOf(row['nextAtMs']), lastTickMs: msOf(row['lastTickMs']) },
    lastTaskId: row['lastTaskId'] === null ? null : String(row['lastTaskId']),
    ...{ bufferedMs: msOf(row['bufferedMs']), missed: Number(row['missed']), untrimmed: Number(row['untrimmed']) },
    ...{ declaredAtMs: msOf(row['declaredAtMs']), createdAtMs: Number(row['createdAtMs']), updatedAtMs: Number(row['updatedAtMs']) },
    version: Number(row['version']),
    ...(odd && { fault: `its ${odd[0]} is not what it may be` }),
  }
}

const msOf = (value: SqlValue | undefined): number | null => (value === null || value === undefined ? null : Number(value))

/** A process that declares it says so each `declareEveryMs`; when nobody has for so long, no running version of the code has it. */
export const declareEveryMs = 30_000
export const declaredForMs = 3 * declareEveryMs

/** Whether some process that runs declares it in code. Of one in code that nobody declares any more no tick is fired. */
export const isDeclared = ({ origin, declaredAtMs }: Pick<ScheduleRow, 'origin' | 'declaredAtMs'>, nowMs: number): boolean =>
  origin === 'code' && declaredAtMs !== null && declaredAtMs > nowMs - declaredForMs

export const catchUpText = (catchUp: CatchUp): string => (typeof catchUp === 'object' ? `all:${catchUp.all}` : catchUp)

function readCatchUp(text: string): CatchUp | undefined {
  if (text === 'none' || text === 'latest') return text
  const limit = /^all:(\d{1,4})$/.exec(text)?.[1]
  return limit === undefined ? undefined : { all: Number(limit) }
}
