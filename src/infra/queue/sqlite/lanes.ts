import type { Database, SqlRow, SqlValue } from '@/core/database'
import { states } from './rows'
import type { Session, Summary } from './session'

/**
 * A lane is one row of "queueLane", while tasks of it wait or run, or its rate has been used:
 *
 * - `active`: how many of it run. `priority`: that of the task which is next in it; null when none waits.
 * - `turn`: its place among the lanes of that priority. Null while it is held, or nothing of it waits.
 * - `heldUntil`: when its rate lets it go on, `untilOneEnds` when it is full. Of one without tasks: when it may be forgotten.
 * - `tat`: the theoretical arrival time of its next start, see `RateLimit`.
 *
 * Two kinds of rows are no lanes: `''` has the `tat` of the whole queue, and `' 5'` the last turn of those tasks of priority 5 that have no lane.
 */
export interface Lane {
  readonly summary: Summary
  readonly name: string
  active: number
  priority: number | null
  turn: number | null
  heldUntil: number | null
  tat: number | null
  /** Somebody may wait for its capacity. */
  wasFull: boolean
  /** As it is stored; undefined when it is not. */
  stored: string | undefined
  /** Among the lanes of the summary, which are those that there will be once this transaction is written. */
  isCounted: boolean
}

/** The latest time there is. */
export const untilOneEnds = 8_640_000_000_000_000
export const queueItself = ''
export const unlanedOf = (priority: number): string => ` ${priority}`
const isLane = (name: string): boolean => name > ' ~'
/** How many whose time has come one call lets go on, or forgets. */
const releasedMax = 100

/** A task waits now. Nothing is done for tasks without a lane. */
export async function entered(session: Session, summary: Summary, name: string | null, priority: number): Promise<void> {
  if (name === null) return
  const lane = await laneOf(session, summary, name)
  count(lane, true)
  // What held it back was the time to forget it: the claim looks whether it may go on.
  if (lane.priority === null && lane.heldUntil !== untilOneEnds) lane.heldUntil = null
  lane.priority = Math.min(priority, lane.priority ?? priority)
  lineUp(lane)
}

/** A task that waited is gone from the table. */
export async function withdrawn(session: Session, summary: Summary, name: string | null): Promise<void> {
  if (name === null) return
  await settle(session, await laneOf(session, summary, name))
}

/** A task that was active is so no more. */
export async function vacated(session: Session, summary: Summary, name: string | null): Promise<void> {
  summary.active--
  if (name === null) return
  const lane = await laneOf(session, summary, name)
  lane.active--
  if (lane.heldUntil === untilOneEnds) lane.heldUntil = null
  lineUp(lane)
}

/** Sees what waits in it. */
export async function settle({ tx }: Session, lane: Lane): Promise<void> {
  const row = await tx.first(
    `select "priority" from "queueTask" where "queue" = +? and "lane" = +? and "state" = ${states.waiting} order by "priority" limit 1`,
    [lane.summary.queue, lane.name],
  )
  lane.priority = row ? Number(row['priority']) : null
  if (!row) lane.turn = null
  lineUp(lane)
}

function count(lane: Lane, isThere: boolean): void {
  if (!isLane(lane.name) || lane.isCounted === isThere) return
  lane.isCounted = isThere
  lane.summary.lanes += isThere ? 1 : -1
}

/** Gives it a place behind all others when it may be claimed from and has none. */
function lineUp(lane: Lane): void {
  if (lane.priority !== null && lane.turn === null && lane.heldUntil === null) lane.turn = nextTurn(lane.summary)
}

/** Turns and places in line are counted together, since both only have to grow. */
export const nextTurn = (summary: Summary): number => ++summary.tail

export function hold(lane: Lane, untilMs: number): void {
  lane.heldUntil = untilMs
  lane.turn = null
  if (untilMs === untilOneEnds) lane.wasFull = true
}

/** Lets those go on whose rate allows it by now. */
export async function release(session: Session, summary: Summary): Promise<void> {
  const rows = await session.tx.all(
    `select * from "queueLane" where "queue" = +? and "heldUntil" is not null and "priority" is not null and "heldUntil" <= +?
      order by "heldUntil" limit ${releasedMax}`,
    [summary.queue, session.nowMs],
  )
  for (const row of rows) {
    const lane = laneOfRow(session, summary, row)
    if (lane.heldUntil === null || lane.heldUntil > session.nowMs) continue
    letGo(lane)
  }
}

export function letGo(lane: Lane): void {
  lane.heldUntil = null
  lineUp(lane)
}

/** Forgets those of which only a rate was known that is as good as unused by now. */
export async function forgetIdle(session: Session, summary: Summary): Promise<void> {
  if (summary.lanes === 0) return
  await saveLanes(session)
  const rows = await session.tx.all(
    `select * from "queueLane" where "queue" = +? and "heldUntil" is not null and "priority" is null and "heldUntil" <= +?
      order by "heldUntil" limit ${releasedMax}`,
    [summary.queue, session.nowMs],
  )
  for (const row of rows) laneOfRow(session, summary, row).heldUntil = null
}

/** When the first of those that have tasks may go on. */
export async function firstReleaseMs(session: Session, { queue }: Summary): Promise<number | null> {
  await saveLanes(session)
  const row = await session.tx.first(
    `select "heldUntil" from "queueLane" where "queue" = +? and "heldUntil" is not null and "priority" is not null order by "heldUntil" limit 1`,
    [queue],
  )
  const ms = row ? Number(row['heldUntil']) : untilOneEnds
  return ms === untilOneEnds ? null : ms
}

/** Reads some in one go that are about to be asked for. */
export async function lookUp(session: Session, summary: Summary, names: ReadonlySet<string>): Promise<void> {
  const unknown = [...names].filter(name => !session.lanes.has(keyOf(summary.queue, name)))
  if (unknown.length < 2) return
  const rows = await session.tx.all('select * from "queueLane" where "queue" = ? and "lane" in (select "value" from json_each(?))', [
    summary.queue,
    JSON.stringify(unknown),
  ])
  for (const row of rows) laneOfRow(session, summary, row)
}

export async function laneOf(session: Session, summary: Summary, name: string): Promise<Lane> {
  const known = session.lanes.get(keyOf(summary.queue, name))
  if (known) return known
  const row = await session.tx.first('select * from "queueLane" where "queue" = ? and "lane" = ?', [summary.queue, name])
  return laneOfRow(session, summary, row ?? { lane: name }, row !== undefined)
}

/** The lane of a row; as this transaction has changed it, when it has. */
export function laneOfRow(session: Session, summary: Summary, row: SqlRow, isStored = true): Lane {
  const name = String(row['lane'])
  const key = keyOf(summary.queue, name)
  const known = session.lanes.get(key)
  if (known) return known
  const lane: Lane = {
    ...{ summary, name, active: Number(row['active'] ?? 0), priority: numberOf(row['priority']), turn: numberOf(row['turn']) },
    ...{ heldUntil: numberOf(row['heldUntil']), tat: numberOf(row['tat']), stored: undefined, isCounted: isStored },
    wasFull: row['heldUntil'] === untilOneEnds,
  }
  if (isStored) lane.stored = JSON.stringify(valuesOf(lane))
  session.lanes.set(key, lane)
  return lane
}

const keyOf = (queue: string, name: string) => `${queue} ${name}`
const numberOf = (value: SqlValue | undefined): number | null => (value === null || value === undefined ? null : Number(value))
const valuesOf = ({ active, priority, turn, heldUntil, tat }: Lane): SqlValue[] => [active, priority, turn, heldUntil, tat]

const saving = `insert into "queueLane" ("queue", "lane", "active", "priority", "turn", "heldUntil", "tat") values (?, ?, ?, ?, ?, ?, ?)
  on conflict ("queue", "lane") do update set "active" = excluded."active", "priority" = excluded."priority", "turn" = excluded."turn",
    "heldUntil" = excluded."heldUntil", "tat" = excluded."tat"`

/** Writes what has changed, forgets lanes that are of no use any more, and wakes who may wait for what has become free. */
export async function saveLanes(session: Session): Promise<void> {
  if (session.lanes.size === 0) return
  for (const lane of session.lanes.values()) if (isLane(lane.name)) await save(session, lane)
  for (const [key, lane] of session.lanes) {
    if (isLane(lane.name)) continue
    // Where there are no lanes any more nobody takes turns.
    if (lane.summary.lanes === 0 && lane.turn !== null) session.lanes.delete(key)
    else await save(session, lane)
  }
}

async function save(session: Session, lane: Lane): Promise<void> {
  const { tx, nowMs } = session
  const { summary, name } = lane
  if (lane.turn !== null && lane.wasFull) {
    session.wake(summary.queue)
    lane.wasFull = false
  }
  const isEmpty = lane.active === 0 && lane.priority === null && lane.turn === null
  const isUsed = lane.tat !== null && lane.tat > nowMs
  if (isEmpty && isUsed && lane.tat !== null) lane.heldUntil = Math.ceil(lane.tat)
  const values = valuesOf(lane)
  const text = JSON.stringify(values)
  count(lane, !isEmpty || isUsed)
  if (isEmpty && !isUsed) {
    if (lane.stored === undefined) return
    await tx.run('delete from "queueLane" where "queue" = ? and "lane" = ?', [summary.queue, name])
    lane.stored = undefined
    if (isLane(name) && summary.lanes === 0)
      await tx.run(`delete from "queueLane" where "queue" = ? and "lane" > '' and "lane" <= ' ~'`, [summary.queue])
    return
  }
  if (text === lane.stored) return
  await tx.run(saving, [summary.queue, name, ...values])
  lane.stored = text
}

/** The clock has been set back since. */
export const shiftRates = (tx: Database, queue: string, byMs: number) =>
  tx.run(
    `update "queueLane" set "tat" = "tat" + ?2, "heldUntil" = case when "heldUntil" < ${untilOneEnds} then "heldUntil" + ?2 else "heldUntil" end
      where "queue" = ?1 and ("tat" is not null or "heldUntil" is not null)`,
    [queue, byMs],
  )
