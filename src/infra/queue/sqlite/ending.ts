import { keptIdMs } from '../driver'
import { vacated } from './lanes'
import { states } from './rows'
import type { Session, Summary } from './session'

/** The ends of tasks. */
export interface Ending {
  seq: number
  id: string
  isIdKept: boolean
}

/** Deletes a task; of one whose id is kept that is remembered. The counters are the caller's. */
export async function end(session: Session, queue: string, { seq, id, isIdKept }: Ending): Promise<void> {
  await session.tx.run('delete from "queueTask" where "seq" = ?', [seq])
  if (isIdKept) await remember(session, queue, id)
}

async function remember({ tx, nowMs }: Session, queue: string, id: string): Promise<void> {
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
  task: { seq: number; lane: string | null; failures: number; crashes: number; errors: string; finisher: string | null },
): Promise<void> {
  await session.tx.run(
    `update "queueTask" set "state" = ${states.dead}, "at" = ?, "failures" = ?, "crashes" = ?, "errors" = ?, "finisher" = coalesce(?, "finisher"),
      "isCancelled" = 0, "nonce" = null, "worker" = null, "uniqueUntil" = null where "seq" = ?`,
    [session.nowMs, task.failures, task.crashes, task.errors, task.finisher, task.seq],
  )
  await vacated(session, summary, task.lane)
  summary.dead++
  summary.died++
}
