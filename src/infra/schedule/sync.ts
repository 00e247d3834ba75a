import type { Clock } from '@/core/clock'
import { type Database, UniqueViolation } from '@/core/database'
import type { Log } from '@/core/log'
import type { AnySchedule } from '@/core/schedule/schedule'
import { canonicalJson } from '../queue/json'
import { createHistory, idColumn } from './history'
import { passBy, type Passing } from './pass-by'
import {
  catchUpText,
  declaredForMs,
  declareEveryMs,
  isDeclared,
  type NewSchedule,
  type ScheduleChange,
  type ScheduleRow,
  type ScheduleRows,
} from './rows'
import { nextTicks } from './ticks'

/**
 * Keeps the rows of schedules in code. While two versions of the code run, the row says what the one says that was started last, and each
 * process fires what the row says; when nobody is left who declares it so, those who declare it otherwise write it anew.
 */
export interface Declarer {
  /** Says that this process has its schedules in code, when that was not said lately. At first it writes what they say. */
  declare(): Promise<void>
}

export interface DeclarerOptions {
  db: Database
  rows: ScheduleRows
  schedules: readonly AnySchedule[]
  clock: Clock
  log: Log
  /** A process that could declare for so long without a gap knows that nobody else declares what nobody has declared meanwhile. */
  retireAfterMs?: number
  /** By a clock that is never set. `performance.now` by default. */
  elapsedMs?: () => number
}

const retireAfterDefaultMs = 600_000
/** Who says so no more often than this may have been kept from it, and so may others. */
const declareLateMs = 2 * declareEveryMs
/** How often one is written again at once when others write it at the same time. */
const attemptsMax = 5

export function createDeclarer({ db, rows, schedules, clock, log, ...options }: DeclarerOptions): Declarer {
  const { retireAfterMs = retireAfterDefaultMs, elapsedMs = () => performance.now() } = options
  /** Those whose row says what they say, since this process has begun. */
  const written = new Set<AnySchedule>()
  const history = createHistory(db)
  let saidAtMs: number | undefined
  /** When it was said last, and since when in time each time: so long the others could say so, too. */
  let heard: { atMs: number; elapsedMs: number; sinceElapsedMs: number } | undefined

  /** @returns whether all of it is said */
  async function say(nowMs: number): Promise<boolean> {
    const found = await rows.named(schedules.map(({ name }) => name))
    const byName = new Map(found.map(row => [row.name, row]))
    const same: string[] = []
    let isAll = true
    for (const schedule of schedules) {
      const row = byName.get(schedule.name)
      if (row && isSame(row, schedule)) same.push(row.id)
      else if (row && isOthers(row, schedule, nowMs)) continue
      else if (!(await write(schedule, nowMs))) {
        isAll = false
        continue
      }
      written.add(schedule)
    }
    await touch(db, same, nowMs)
    await retire(nowMs)
    return isAll
  }

  /** Those who were started later may know better, while they run. */
  const isOthers = (row: ScheduleRow, schedule: AnySchedule, nowMs: number) => written.has(schedule) && isDeclared(row, nowMs)

  /** @returns false when others wrote it at the same time, again and again */
  async function write(schedule: AnySchedule, nowMs: number): Promise<boolean> {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      try {
        await db.tx(tx => writeWithin(tx, schedule, nowMs), { isolation: 'read committed' })
        return true
      } catch (err) {
        // Another process has made it, or changed it, at the same time.
        if (!(err instanceof UniqueViolation || err instanceof Overtaken)) throw err
      }
    }
    return false
  }

  /** Who fires it does not count up its version: only a row that nobody else can write has the cursor that it was read with. */
  async function writeWithin(tx: Database, schedule: AnySchedule, nowMs: number): Promise<void> {
    const [row] = await rows.named([schedule.name], tx)
    if (row && isOthers(row, schedule, nowMs)) return
    if (row && isSame(row, schedule)) return touch(tx, [row.id], nowMs)
    if (!row) await rows.insert({ ...declared(schedule, nowMs, nowMs), isPaused: false }, nowMs, tx)
    else {
      const said = await changed(schedule, row, nowMs, passBy({ tx, history, log, row, atMs: nowMs }))
      if (!(await rows.change(row.id, row.version, said, tx))) throw new Overtaken()
    }
    await tx.afterCommit(() => tell(schedule, row))
  }

  function tell({ name, cron }: AnySchedule, row: ScheduleRow | undefined): void {
    if (row?.origin === 'database')
      log.warn('a schedule of the database has the name of one in code, and is that one from now on', {
        ...{ schedule: row.name, cron: row.cron, timeZone: row.timeZone, task: row.task },
      })
    else log.info(row ? 'a schedule in code has changed' : 'a schedule in code is new', { schedule: name, cron })
  }

  /** Also of none: who has no schedules learns so whether others can write at present. */
  async function touch(on: Database, ids: readonly string[], nowMs: number): Promise<void> {
    await on.run(db.dialect.name === 'sqlite' ? touching.sqlite : touching.server, [JSON.stringify(ids), nowMs])
  }

  /**
   * What no running version declares has no ticks: should one declare it again, what passed meanwhile is not missed. While the database was
   * away, or its clock was set, nobody could declare, which is another thing.
   */
  async function retire(nowMs: number): Promise<void> {
    const atElapsedMs = elapsedMs()
    const isInTime = heard !== undefined && atElapsedMs - heard.elapsedMs <= declareLateMs && Math.abs(nowMs - heard.atMs) <= declareLateMs
    const sinceElapsedMs = isInTime && heard ? heard.sinceElapsedMs : atElapsedMs
    heard = { atMs: nowMs, elapsedMs: atElapsedMs, sinceElapsedMs }
    if (atElapsedMs - sinceElapsedMs < retireAfterMs) return
    await db.run(`update "schedule" set "nextAtMs" = null where "origin" = 'code' and "declaredAtMs" < ? and "nextAtMs" is not null`, [
      nowMs - Math.max(retireAfterMs, declaredForMs),
    ])
  }

  return {
    async declare() {
      const nowMs = clock.nowMs()
      // The clock of the server may be set.
      if (saidAtMs !== undefined && nowMs >= saidAtMs && nowMs < saidAtMs + declareEveryMs) return
      try {
        // What others kept from being said is tried again when it is asked for next.
        saidAtMs = (await say(nowMs)) ? nowMs : undefined
      } catch (err) {
        heard = undefined
        throw err
      }
    },
  }
}

/** By their keys, so that who fires others does not find them taken. */
const touching = {
  sqlite: `update "schedule" set "declaredAtMs" = ?2 where "id" in (select value from json_each(?1)) and "origin" = 'code'`,
  server: `update json_table(?, '$[*]' columns (${idColumn('key', '$')})) as "those" straight_join "schedule" force index (primary)
    on "schedule"."id" = "those"."key" and "schedule"."origin" = 'code' set "schedule"."declaredAtMs" = ?`,
}

/** What is written is undone: the row is not as it was read. */
class Overtaken extends Error {
  override readonly name = 'Overtaken'
}

/** What the row says from now on. */
function declared(schedule: AnySchedule, cursorMs: number, nowMs: number): Omit<NewSchedule, 'isPaused'> {
  const { name, task, payload, cron, timeZone, overlap, catchUp, catchUpWindowMs, jitterMs } = schedule
  // Who looks then adds the jitter.
  const nextAtMs = nextTicks(schedule, cursorMs, 1)[0] ?? null
  return {
    ...{ name, origin: 'code', task: task.name, payload, cron, timeZone, overlap, catchUp, catchUpWindowMs, jitterMs },
    ...{ cursorMs, nextAtMs, declaredAtMs: nowMs },
  }
}

/** Ticks of before go by with the expression that said them, as they do when an operator changes it. */
async function changed(schedule: AnySchedule, row: ScheduleRow, nowMs: number, passing: Passing): Promise<ScheduleChange> {
  const isKept = !isRetired(row) && row.cron === schedule.cron && row.timeZone === schedule.timeZone
  const said = declared(schedule, isKept ? row.cursorMs : Math.max(row.cursorMs, nowMs), nowMs)
  // Of one that nobody has declared for long nothing is missed.
  const missed = isKept || isRetired(row) || row.isPaused ? 0 : await passing.missed()
  const bufferedMs = isKept && row.overlap === schedule.overlap ? row.bufferedMs : await passing.letBuffered()
  const nextAtMs = row.isPaused ? null : bufferedMs === null ? said.nextAtMs : nowMs
  return { ...said, nextAtMs, bufferedMs, missed: row.missed + missed, updatedAtMs: nowMs }
}

/** Nobody had declared it for long. */
const isRetired = (row: ScheduleRow): boolean => row.nextAtMs === null && !row.isPaused

const isSame = (row: ScheduleRow, schedule: AnySchedule): boolean => row.origin === 'code' && isAsDeclared(row, schedule) && !isRetired(row)

const isAsDeclared = (row: ScheduleRow, { task, payload, ...said }: AnySchedule): boolean =>
  row.fault === undefined &&
  row.task === task.name &&
  canonicalJson(row.payload) === canonicalJson(payload) &&
  catchUpText(row.catchUp) === catchUpText(said.catchUp) &&
  (['cron', 'timeZone', 'overlap', 'catchUpWindowMs', 'jitterMs'] as const).every(name => row[name] === said[name])
