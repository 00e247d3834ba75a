import type { SqlRow } from '@/core/database'
import { type BeatReply, type Held, poisonError, type ReapReply, type ReapRule, reapMax } from '../driver'
import { bury, end, purge } from './ending'
import { leave } from './finish'
import { purgeEnds } from './followers'
import { expire } from './kept'
import { forgetIdle, vacated } from './lanes'
import { endingColumns, endingOf, states, withError } from './rows'
import type { Session, Summary } from './session'

/** How many ids are forgotten in a call, beside its own work. */
const purgedMax = 1000

export async function beat(session: Session, queue: string, leaseMs: number, held: readonly Held[]): Promise<BeatReply> {
  const { tx, nowMs } = session
  const reply: BeatReply = { lost: [], cancelled: [] }
  // Leases of before the clock was set back are shifted first, and not what is prolonged here.
  if (held.length > 0) await session.of(queue)
  for (const { id, attempt, nonce } of held) {
    const row = await tx.first(
      `update "queueTask" set "at" = max("at", ?) where "queue" = ? and "id" = ? and "attempt" = ? and "nonce" = ?
        and "state" = ${states.active} returning "isCancelled"`,
      [nowMs + leaseMs, queue, id, attempt, nonce],
    )
    if (!row) reply.lost.push(id)
    else if (row['isCancelled'] === 1) reply.cancelled.push(id)
  }
  return reply
}

export async function reap(session: Session, queue: string, { leaseMs, crashesMax, keepDeadMs }: ReapRule): Promise<ReapReply> {
  const { tx, nowMs } = session
  const summary = await session.of(queue)
  // Noted now and then though nothing else is written, so that a process that starts can tell that somebody has been here.
  if (summary.active > 0 && nowMs - summary.clockMs > leaseMs / 4) summary.clockMs = nowMs
  const { done, dead, more } = await expire(session, summary, keepDeadMs)
  const over = await tx.all(
    `select ${endingColumns}, "attempt", "failures", "crashes", "isCancelled", "errors" from "queueTask"
      where "queue" = +? and "state" = ${states.active} and "state" > 0 and "at" <= +? order by "at", "id" limit ${reapMax + 1}`,
    [queue, nowMs],
  )
  const reply: ReapReply = { again: [], poisoned: [], more: over.length > reapMax }
  for (const row of over.slice(0, reapMax)) await reapOne(session, summary, row, crashesMax, reply)
  if (reply.again.length > 0) session.wake(queue)
  await purge(tx, nowMs, purgedMax)
  await purgeEnds(tx, nowMs, purgedMax)
  await forgetIdle(session, summary)
  if (done + dead === 0) return reply
  return { ...reply, expired: { done, dead }, more: reply.more || more }
}

async function reapOne(session: Session, summary: Summary, row: SqlRow, crashesMax: number, reply: ReapReply): Promise<void> {
  const id = String(row['id'])
  if (row['isCancelled'] === 1) {
    const ending = endingOf(row)
    await end(session, summary.queue, ending, { outcome: 'cancelled' })
    await vacated(session, summary, ending.lane)
    summary.cancelled++
    return
  }
  const crashes = Number(row['crashes']) + 1
  const task = { ...endingOf(row), failures: Number(row['failures']), crashes, finisher: null }
  summary.crashed++
  if (crashes > crashesMax) {
    const errors = withError(row['errors'], { ms: session.nowMs, attempt: Number(row['attempt']), message: poisonError(crashes) })
    await bury(session, summary, { ...task, errors })
    reply.poisoned.push(id)
    return
  }
  await leave(session, summary, { ...task, errors: row['errors'] ?? null }, crashes === 1 ? 'head' : { delayMs: 2 ** crashes * 1000 })
  reply.again.push(id)
}
