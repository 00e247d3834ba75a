import type { SqlRow } from '@/core/database'
import type { Claim, Claimed } from '../driver'
import { states } from './rows'
import { atTail, type Session, type Summary } from './session'

/** How many that are due one claim lets wait. They come behind those that wait, so that a backlog of either cannot starve the other. */
const promotedMax = 100

const claimedColumns = '"id", "attempt", "failures", "crashes", "envelope"'

/** @param isKnown whether this nonce has claimed before: then it gets what is still its own, and nothing else */
export async function claim(session: Session, queue: string, said: Claim, isKnown: boolean): Promise<Claimed[]> {
  const { tx, nowMs } = session
  const { worker, nonce, count, leaseMs } = said
  const summary = await session.of(queue)
  const before = await tx.all(
    `select ${claimedColumns} from "queueTask" where "queue" = +? and "nonce" = +? and "nonce" is not null and "state" = ${states.active}
      order by "priority", "line"`,
    [queue, nonce],
  )
  if (isKnown || before.length > 0) return before.map(row => claimedOf(row, 0))
  await promote(session, summary)
  // One statement for both would be in no order, and takes longer.
  const rows = await tx.all(
    `select "seq", ${claimedColumns} from "queueTask" where "queue" = +? and "state" = ${states.waiting} order by "priority", "line" limit +?`,
    [queue, count],
  )
  for (const row of rows) {
    await tx.run(
      `update "queueTask" set "state" = ${states.active}, "at" = ?, "attempt" = "attempt" + 1, "nonce" = ?, "worker" = ?
        where "seq" = ?`,
      [nowMs + leaseMs, nonce, worker, row['seq'] ?? null],
    )
  }
  // Fewer than asked for are all there are, whatever was counted.
  summary.waiting = rows.length < count ? 0 : Math.max(0, summary.waiting - rows.length)
  summary.active += rows.length
  return rows.map(row => claimedOf(row, 1))
}

/** @returns how long until there is something to claim; 0 when there is, undefined when nothing is to come by itself */
export async function nextDueMs(session: Session, queue: string): Promise<number | undefined> {
  const summary = await session.of(queue)
  if (summary.waiting > 0) return 0
  const dueMs = await firstDueMs(session, summary)
  return dueMs === null ? undefined : Math.max(0, dueMs - session.nowMs)
}

async function promote(session: Session, summary: Summary): Promise<void> {
  const { tx, nowMs } = session
  const firstMs = await firstDueMs(session, summary)
  if (firstMs === null || firstMs > nowMs) return
  const due = await tx.all(
    `select "seq" from "queueTask" where "queue" = +? and "state" = ${states.scheduled} and "state" > 0 and "at" <= ?
      order by "at", "id" limit ${promotedMax}`,
    [summary.queue, nowMs],
  )
  for (const row of due) {
    await tx.run(`update "queueTask" set "state" = ${states.waiting}, "line" = ? where "seq" = ?`, [atTail(summary), row['seq'] ?? null])
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
