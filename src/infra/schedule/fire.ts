import { type Clock, toTimestamp } from '@/core/clock'
import { type Database, UniqueViolation } from '@/core/database'
import type { Log } from '@/core/log'
import { isPassing } from '../queue/driver'
import type { DueRows, Settled } from './due'
import type { Enqueuer } from './enqueue'
import type { ScheduleHistory, TickRow } from './history'
import type { ScheduleMeters } from './meters'
import { asksForEnd, charsMax, charsOf, isEnqueued, type Plan, planOf, putOff, putOffMs, withoutDecided } from './plan'
import { tickTaskId } from '@/core/schedule/schedule'
import type { ScheduleRow } from './rows'
import type { TickTasks } from './tick-tasks'
import { type Decision, decide } from './ticks'

/**
 * Fires what is due: reads the rows, decides what becomes of their ticks, and then, in one transaction, takes those rows that are still as they
 * were read, enqueues the tasks, and sets the cursors behind the ticks. Whoever comes second finds another cursor, and writes nothing. Any
 * number of processes may do so.
 */
export interface Firing {
  /** @returns how many schedules were found due, and of how many something was written */
  round(): Promise<Round>
}
export interface Round {
  due: number
  settled: number
}

export interface FiringOptions {
  db: Database
  due: DueRows
  history: ScheduleHistory
  enqueuer: Enqueuer
  tickTasks: TickTasks
  clock: Clock
  log: Log
  meters: ScheduleMeters
}

const takeMax = 500
/** What cannot be fired by itself, while others can, is tried again after so long. */
const oddPauseMs = 60_000
/** Tasks in one transaction: so few are one call of the queue, which takes all of them or none. */
const tasksMax = 1000
/** The history is trimmed when so many have come since, and a few more or less, so that not all schedules are at once. */
const untrimmedMax = 20
const untrimmedSpread = 20
/** Lines of the log that name a schedule, of one transaction. */
const linesMax = 20

export function createFiring({ db, due, history, enqueuer, tickTasks, clock, log, meters }: FiringOptions): Firing {
  /** What is wrong with one must not hold up the others. */
  function decided(row: ScheduleRow, nowMs: number): { row: ScheduleRow; decision?: Decision } {
    try {
      if (row.fault !== undefined) throw new Error(row.fault)
      return { row, decision: decide({ scheduleId: row.id, rules: row, cursorMs: row.cursorMs, nowMs }) }
    } catch (err) {
      odd(row, err)
      return { row }
    }
  }

  function odd(row: ScheduleRow, err: unknown): void {
    meters.failed()
    log.error('a schedule cannot be fired; it is tried again', { schedule: row.name, id: row.id, err })
  }

  /** Those that have to know whether a task has ended; of which that cannot be known wait. */
  async function asked(some: readonly { row: ScheduleRow; decision: Decision }[], nowMs: number): Promise<Plan[]> {
    const states = await tickTasks.look(some.map(({ row }) => ({ taskId: row.lastTaskId ?? '', task: row.task })))
    const plans = some.map(({ row, decision }) => {
      const state = states.get(row.lastTaskId ?? '')
      return state === undefined ? putOff(row, nowMs, putOffMs) : planOf(row, decision, state === 'alive', nowMs)
    })
    const cancels = plans.flatMap(({ cancels }) => cancels ?? [])
    if (cancels.length === 0) return plans
    // Before they are enqueued: after a crash in between the tick is fired by whoever comes next.
    const ended = await tickTasks.cancel(cancels)
    return plans.map(plan => (plan.cancels === null || ended.has(plan.cancels) ? plan : putOff(plan.row, nowMs, putOffMs)))
  }

  /** @returns of how many something was written */
  async function settle(plans: readonly Plan[]): Promise<number> {
    let settled = 0
    for (const some of piecesOf(plans)) settled += await settlePiece(some)
    return settled
  }

  async function settlePiece(plans: readonly Plan[]): Promise<number> {
    try {
      const done = await db.tx(tx => settleWithin(tx, plans), { isolation: 'read committed' })
      report(done)
      return done.length
    } catch (thrown) {
      if (isPassing(thrown)) throw thrown
      const [plan] = plans
      if (plan && plans.length === 1) return setAside(plan, thrown)
      // One of them is at fault.
      const half = Math.ceil(plans.length / 2)
      return (await settlePiece(plans.slice(0, half))) + (await settlePiece(plans.slice(half)))
    }
  }

  async function settleWithin(tx: Database, plans: readonly Plan[]): Promise<Plan[]> {
    const own = await due.lock(
      tx,
      plans.map(({ row }) => row),
    )
    const mine = plans.filter(({ row }) => own.has(row.id))
    if (mine.length === 0) return []
    const done = await enqueuer.enqueue(tx, mine)
    const ticks = done.map(historyOf)
    const rows = done.map((plan, i) => settledOf(plan, ticks[i]?.length ?? 0))
    await due.settle(tx, rows)
    await history.dropBuffered(
      tx,
      done.flatMap(({ row, ticks }) =>
        ticks.filter(({ wasBuffered }) => wasBuffered).map(({ tickMs }) => ({ scheduleId: row.id, tickMs })),
      ),
    )
    await history.add(tx, ticks.flat())
    await history.trim(
      tx,
      rows.filter(({ untrimmed }) => untrimmed === 0).map(({ row }) => row.id),
    )
    return done
  }

  async function setAside(plan: Plan, thrown: unknown): Promise<number> {
    const { row, atMs } = plan
    odd(row, thrown)
    const rest = thrown instanceof UniqueViolation ? await undecided(plan) : undefined
    // What is left of it can be fired: others must not come between.
    if (rest && (rest.ticks.length > 0 || rest.missed)) return settlePiece([rest])
    await db.tx(async tx => {
      if ((await due.lock(tx, [row])).size > 0) await due.settle(tx, [settledOf(rest ?? putOff(row, atMs, oddPauseMs), 0)])
    })
    return 1
  }

  /** What the history has was decided, whatever the cursor says: who asks again would be told the same for ever. */
  async function undecided(plan: Plan): Promise<Plan | undefined> {
    const ticksMs = historyOf(plan).map(({ tickMs }) => tickMs)
    return withoutDecided(plan, await history.decided(plan.row, ticksMs))
  }

  /** After the commit. */
  function report(done: readonly Plan[]): void {
    log.debug('schedules fired', { schedules: done.length, ticks: done.reduce((sum, { ticks }) => sum + ticks.length, 0) })
    const lost: { schedule: string; from: string; to: string; count: number; isMore: boolean }[] = []
    const nowMs = clock.nowMs()
    for (const { row, ticks, missed, atMs } of done) {
      // It was decided a while ago, when others had to be asked.
      const sinceMs = Math.max(0, nowMs - atMs)
      for (const { what, lateMs, wasBuffered } of ticks) {
        meters.ticks(what, 1)
        if (what === 'fired' && !wasBuffered) meters.lateness(lateMs + sinceMs)
      }
      if (!missed) continue
      meters.ticks('missed', missed.count)
      const { fromMs, toMs, count, isMore } = missed
      lost.push({ schedule: row.name, from: toTimestamp(fromMs), to: toTimestamp(toMs), count, isMore })
    }
    for (const fields of lost.slice(0, linesMax)) log.warn('ticks of a schedule were missed', fields)
    if (lost.length > linesMax) log.warn('ticks of other schedules were missed, too', { schedules: lost.length - linesMax })
  }

  return {
    async round() {
      const nowMs = clock.nowMs()
      const rows = await due.take(nowMs, takeMax)
      const plain: Plan[] = []
      const asking: { row: ScheduleRow; decision: Decision }[] = []
      for (const { row, decision } of rows.map(each => decided(each, nowMs))) {
        if (!decision) plain.push(putOff(row, nowMs, oddPauseMs))
        else if (asksForEnd(row, decision)) asking.push({ row, decision })
        else plain.push(planOf(row, decision, false, nowMs))
      }
      // Those that need no answer do not wait for one.
      const settled = await settle(plain)
      return { due: rows.length, settled: settled + (asking.length > 0 ? await settle(await asked(asking, nowMs)) : 0) }
    },
  }
}

/** In as many transactions as their tasks take. */
function piecesOf(plans: readonly Plan[]): Plan[][] {
  const pieces: Plan[][] = []
  let tasks = 0
  let chars = 0
  for (const plan of plans) {
    const ownChars = plan.ticks.length * charsOf(plan.row)
    tasks += plan.ticks.length
    chars += ownChars
    const last = pieces.at(-1)
    if (last && tasks <= tasksMax && chars <= charsMax) {
      last.push(plan)
      continue
    }
    pieces.push([plan])
    tasks = plan.ticks.length
    chars = ownChars
  }
  return pieces
}

/** Ticks that are missed for one reason are one row. */
function historyOf({ row, ticks, missed, atMs }: Plan): TickRow[] {
  const base = { scheduleId: row.id, atMs }
  const rows = ticks
    .filter(({ what }) => what !== 'missed')
    .map(({ tickMs, what, lateMs }): TickRow => {
      const taskId = isEnqueued({ what }) ? tickTaskId(row.id, tickMs) : null
      return { ...base, tickMs, what, count: 1, lateMs, taskId, outcome: taskId === null ? null : 'pending' }
    })
  const lost = ticks.filter(({ what }) => what === 'missed')
  const windows = [
    ...(missed ? [{ tickMs: missed.fromMs, count: missed.count }] : []),
    ...(lost[0] ? [{ tickMs: lost[0].tickMs, count: lost.length }] : []),
  ]
  for (const window of windows)
    rows.push({ ...base, ...window, what: 'missed', lateMs: Math.max(0, atMs - window.tickMs), taskId: null, outcome: null })
  return rows
}

function settledOf({ row, ticks, missed, cursorMs, nextAtMs, bufferedMs }: Plan, added: number): Settled {
  const last = ticks.findLast(isEnqueued)?.tickMs
  const untrimmed = row.untrimmed + added
  const lost = ticks.filter(({ what }) => what === 'missed').length
  return {
    ...{ row, cursorMs, nextAtMs, bufferedMs },
    lastTickMs: last ?? row.lastTickMs,
    lastTaskId: last === undefined ? row.lastTaskId : tickTaskId(row.id, last),
    missed: (missed?.count ?? 0) + lost,
    untrimmed: untrimmed > untrimmedMax + (Number.parseInt(row.id.slice(-4), 16) % untrimmedSpread) ? 0 : untrimmed,
  }
}
