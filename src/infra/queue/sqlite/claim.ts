import type { SqlRow } from '@/core/database'
import type { Claim, Claimed, ClaimLimits } from '../driver'
import { entered, firstReleaseMs, laneOf, queueItself, release } from './lanes'
import { applyLimits, isLookDue } from './limits'
import { boundedTat, mayStart, mayStartMs, started } from './rate'
import { claimedColumns, laneNameOf, states } from './rows'
import { atTail, type Session, type Summary } from './session'
import { isOneReady, takeInTurns, turnsOf } from './turns'

/** How many that are due one claim lets wait. They come behind those that wait, so that a backlog of either cannot starve the other. */
const promotedMax = 100

/** @param isKnown whether this nonce has claimed before: then it gets what is still its own, and nothing else */
export async function claim(session: Session, queue: string, said: Claim, isKnown: boolean): Promise<Claimed[]> {
  const { tx, nowMs } = session
  const { worker, nonce, leaseMs } = said
  const summary = await session.of(queue)
  const before = await tx.all(
    `select ${claimedColumns} from "queueTask" where "queue" = +? and "nonce" = +? and "nonce" is not null and "state" = ${states.active}
      order by "priority", "line"`,
    [queue, nonce],
  )
  if (isKnown || before.length > 0) return before.map(row => claimedOf(row, 0))
  const room = summary.isPaused ? 0 : await roomFor(session, summary, said)
  if (room === 0) return []
  await promote(session, summary)
  if (summary.lanes > 0) {
    await release(session, summary)
    await applyLimits(session, summary, said.limits)
  }

  const start = async (seq: number): Promise<void> => {
    await tx.run(
      `update "queueTask" set "state" = ${states.active}, "at" = ?, "attempt" = "attempt" + 1, "nonce" = ?, "worker" = ?
        where "seq" = ?`,
      [nowMs + leaseMs, nonce, worker, seq],
    )
  }
  let rows: SqlRow[]
  const isInTurns = summary.lanes > 0
  if (isInTurns) {
    rows = await takeInTurns(session, summary, said, room, start)
    summary.waiting = Math.max(0, summary.waiting - rows.length)
  } else {
    // One statement for both would be in no order, and takes longer.
    rows = await tx.all(
      `select "seq", ${claimedColumns} from "queueTask" where "queue" = +? and "lane" is null and "state" = ${states.waiting}
        order by "priority", "line" limit +?`,
      [queue, room],
    )
    for (const row of rows) await start(Number(row['seq']))
    // Fewer than asked for are all there are, whatever was counted.
    summary.waiting = rows.length < room ? 0 : Math.max(0, summary.waiting - rows.length)
  }
  summary.active += rows.length
  const rate = said.limits?.rate
  if (rate && rows.length > 0) {
    const whole = await laneOf(session, summary, queueItself)
    whole.tat = started(whole.tat, rate, nowMs, rows.length)
  }
  return rows.map(row => claimedOf(row, isInTurns ? 0 : 1))
}

/** How many the limits of the queue let start, up to what was asked for. */
async function roomFor(session: Session, summary: Summary, { count, limits = noLimits }: Claim): Promise<number> {
  const { concurrency, rate } = limits
  const most = concurrency === undefined ? count : Math.max(0, Math.min(count, concurrency - summary.active))
  if (!rate || most === 0) return most
  const whole = await laneOf(session, summary, queueItself)
  whole.tat = boundedTat(whole.tat, rate, session.nowMs)
  return mayStart(whole.tat, rate, session.nowMs, most)
}

const noLimits: ClaimLimits = { lanes: {} }

/** @returns how long until there is something to claim; 0 when there is, undefined when nothing is to come by itself */
export async function nextDueMs(session: Session, queue: string, limits: ClaimLimits = noLimits): Promise<number | undefined> {
  const summary = await session.of(queue)
  const { concurrency, rate } = limits
  if (summary.isPaused) return undefined
  if (concurrency !== undefined && summary.active >= concurrency) {
    summary.shortAt = summary.active
    return undefined
  }
  const readyMs = (await isAnyReady(session, summary, limits)) ? session.nowMs : await firstToComeMs(session, summary)
  if (readyMs === null) return undefined
  const rateMs = rate ? mayStartMs((await laneOf(session, summary, queueItself)).tat, rate, session.nowMs) : 0
  return Math.max(0, Math.ceil(Math.max(readyMs, rateMs)) - session.nowMs)
}

async function isAnyReady(session: Session, summary: Summary, limits: ClaimLimits): Promise<boolean> {
  if (summary.lanes === 0 || summary.waiting === 0) return summary.waiting > 0
  // Most often one of those that have just been looked at.
  if (isLookDue(summary) || isOneReady(session, summary, limits)) return true
  const unlaned = await session.tx.first(
    `select 1 from "queueTask" where "queue" = +? and "lane" is null and "state" = ${states.waiting} limit 1`,
    [summary.queue],
  )
  if (unlaned) return true
  const turns = turnsOf(session, summary, limits, 1)
  return (await turns.next()) !== undefined || turns.isCutShort()
}

async function firstToComeMs(session: Session, summary: Summary): Promise<number | null> {
  const dueMs = await firstDueMs(session, summary)
  const releaseMs = summary.lanes > 0 ? await firstReleaseMs(session, summary) : null
  return dueMs === null || releaseMs === null ? (dueMs ?? releaseMs) : Math.min(dueMs, releaseMs)
}

async function promote(session: Session, summary: Summary): Promise<void> {
  const { tx, nowMs } = session
  const firstMs = await firstDueMs(session, summary)
  if (firstMs === null || firstMs > nowMs) return
  const due = await tx.all(
    `select "seq", "lane", "priority" from "queueTask" where "queue" = +? and "state" = ${states.scheduled} and "state" > 0 and "at" <= +?
      order by "at", "id" limit ${promotedMax}`,
    [summary.queue, nowMs],
  )
  for (const row of due) {
    await tx.run(`update "queueTask" set "state" = ${states.waiting}, "line" = ? where "seq" = ?`, [atTail(summary), row['seq'] ?? null])
    await entered(session, summary, laneNameOf(row), Number(row['priority']))
  }
  summary.scheduled -= due.length
  summary.waiting += due.length
  summary.nextDueMs = undefined
}

async function firstDueMs({ tx }: Session, summary: Summary): Promise<number | null> {
  if (summary.nextDueMs === undefined) {
    const row = await tx.first(
      `select "at" from "queueTask" where "queue" = +? and "state" = ${states.scheduled} and "state" > 0 order by "at" limit 1`,
      [summary.queue],
    )
    summary.nextDueMs = row ? Number(row['at']) : null
  }
  return summary.nextDueMs
}

/** @param started how many attempts have begun since it was read */
const claimedOf = (row: SqlRow, started: number): Claimed => ({
  id: String(row['id']),
  attempt: Number(row['attempt']) + started,
  failures: Number(row['failures']),
  crashes: Number(row['crashes']),
  envelope: String(row['envelope']),
})
