import type { Database, SqlRow } from '@/core/database'
import { type Held, type PeekedTask, reapMax } from '../driver'
import { end } from './ending'
import { endingColumns, endingOf, peekedTask, states } from './rows'
import type { Session, Summary } from './session'

/** What stays of tasks for a time: done ones, dead letters, and how far the others are. */

export async function report(session: Session, queue: string, reports: readonly (Held & { progress: string })[]): Promise<boolean[]> {
  const replies: boolean[] = []
  for (const { id, attempt, nonce, progress } of reports) {
    const { changes } = await session.tx.run(
      `update "queueTask" set "progress" = ? where "queue" = ? and "id" = ? and "attempt" = ? and "nonce" = ? and "state" = ${states.active}`,
      [progress, queue, id, attempt, nonce],
    )
    replies.push(changes > 0)
  }
  return replies
}

export async function peek(db: Database, queue: string, ids: readonly string[]): Promise<(PeekedTask | undefined)[]> {
  const rows = await db.all(
    `select "id", "state", "errors", "progress", "result" from "queueTask"
      where "queue" = ? and "id" in (select "value" from json_each(?))`,
    [queue, JSON.stringify(ids)],
  )
  const found = new Map(rows.map(row => [row['id'], peekedTask(row)]))
  return ids.map(id => found.get(id))
}

/** Removes those whose time is over, at most so many of each as a reaper takes. */
export async function expire(
  session: Session,
  summary: Summary,
  keepDeadMs: number | undefined,
): Promise<{ done: number; dead: number; more: boolean }> {
  const done = await over(session, summary, states.done, session.nowMs)
  // They were remembered when they ended.
  for (const row of done) await end(session, summary.queue, { ...endingOf(row), isIdKept: false }, undefined)
  summary.kept -= done.length
  const dead = keepDeadMs === undefined ? [] : await over(session, summary, states.dead, session.nowMs - keepDeadMs)
  for (const row of dead) await end(session, summary.queue, endingOf(row), { outcome: 'cancelled' })
  summary.dead -= dead.length
  return { done: done.length, dead: dead.length, more: done.length === reapMax || dead.length === reapMax }
}

const over = ({ tx }: Session, { queue }: Summary, state: number, tillMs: number): Promise<SqlRow[]> =>
  tx.all(
    `select ${endingColumns} from "queueTask" where "queue" = +? and "state" = ${state} and "state" > 0 and "at" <= +?
      order by "at", "id" limit ${reapMax}`,
    [queue, tillMs],
  )
