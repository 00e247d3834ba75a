import { keptIdMs } from '../driver'
import { forgetEnds, tell } from './followers'
import { vacated } from './lanes'
import { type Ending, states } from './rows'
import { atTail, type Session, type Summary } from './session'

/** The ends of tasks. */
export type How = { outcome: 'done'; result: string | undefined } | { outcome: 'cancelled' }

/**
 * Deletes a task, and those that it was needed by; of one whose id is kept that is remembered. The counters of the first are the caller's.
 * @param how undefined of one that ended before
 */
export async function end(session: Session, queue: string, ending: Ending, how: How | undefined): Promise<void> {
  await erase(session, queue, ending)
  let last = ending
  let said = how
  while (said) {
    const next = await tell(session, queue, last, said)
    if (!next) return
    await erase(session, queue, next)
    const summary = await session.of(queue)
    summary.held--
    summary.cancelled++
    last = next
    said = { outcome: 'cancelled' }
  }
}

async function erase(session: Session, queue: string, { seq, id, isIdKept, isFollower }: Ending): Promise<void> {
  await session.tx.run('delete from "queueTask" where "seq" = ?', [seq])
  if (isFollower) await forgetEnds(session, queue, id)
  if (isIdKept) await remember(session, queue, id)
}

/** It stays for a time, with its result. */
export async function keep(
  session: Session,
  summary: Summary,
  task: Ending & { finisher: string; keepForMs: number; result: string | undefined },
): Promise<void> {
  await session.tx.run(
    `update "queueTask" set "state" = ${states.done}, "line" = ?, "at" = ?, "result" = ?, "finisher" = ?,
      "isCancelled" = 0, "nonce" = null, "worker" = null, "uniqueUntil" = null where "seq" = ?`,
    [atTail(summary), session.nowMs + task.keepForMs, task.result ?? null, task.finisher, task.seq],
  )
  if (task.isIdKept) await remember(session, summary.queue, task.id)
  session.ended(summary.queue, task.id)
  summary.kept++
  await tell(session, summary.queue, task, { outcome: 'done', result: task.result })
}

export async function remember({ tx, nowMs }: Session, queue: string, id: string): Promise<void> {
  await tx.run(
    'insert into "queueTombstone" ("queue", "id", "until") values (?, ?, ?) on conflict do update set "until" = excluded."until"',
    [queue, id, nowMs + keptIdMs],
  )
  // More than come, so that they cannot pile up.
  await purge(tx, nowMs, 2)
}

/** Forgets ids whose time is over, the oldest first, of all queues. */
export const purge = (tx: Session['tx'], nowMs: number, most: number): Promise<unknown> =>
  tx.run(
    `delete from "queueTombstone" where ("queue", "id") in
      (select "queue", "id" from "queueTombstone" where "until" <= +? order by "until" limit +?)`,
    [nowMs, most],
  )

/** Makes a dead letter of an active task. A finisher of null leaves the one before. */
export async function bury(
  session: Session,
  summary: Summary,
  task: Pick<Ending, 'seq' | 'id' | 'lane' | 'follower'> & { failures: number; crashes: number; errors: string; finisher: string | null },
): Promise<void> {
  await session.tx.run(
    `update "queueTask" set "state" = ${states.dead}, "line" = ?, "at" = ?, "failures" = ?, "crashes" = ?, "errors" = ?, "finisher" = coalesce(?, "finisher"),
      "isCancelled" = 0, "nonce" = null, "worker" = null, "uniqueUntil" = null where "seq" = ?`,
    [atTail(summary), session.nowMs, task.failures, task.crashes, task.errors, task.finisher, task.seq],
  )
  session.ended(summary.queue, task.id)
  await tell(session, summary.queue, task, { outcome: 'dead' })
  await vacated(session, summary, task.lane)
  summary.dead++
  summary.died++
}
