import type { SqlRow } from '@/core/database'
import { beforeMax, type Ended, keptIdMs, type NewTask } from '../driver'
import { entered } from './lanes'
import { endingColumns, type Ending, endingOf, laneNameOf, outcomes, states } from './rows'
import { atTail, type Session } from './session'

/** Tasks that wait until others have ended, and what those tell them. */
type Told = Omit<Ended, 'id'> | { outcome: 'done'; result: string | undefined }

/**
 * Tells the one that waits for it, if any, how a task has ended; which starts that one when it was the last.
 * @returns the one that is to be cancelled, since it needs this one done
 */
export async function tell(
  session: Session,
  queue: string,
  { id, follower }: Pick<Ending, 'id' | 'follower'>,
  told: Told,
): Promise<Ending | undefined> {
  if (follower === undefined) return undefined
  const next = follower.slice(1)
  const row = await session.tx.first(
    `select ${endingColumns}, "state", "isDoneNeeded", "delayMs" from "queueTask" where "queue" = ? and "id" = ?`,
    [queue, next],
  )
  const result = follower.startsWith('+') ? told.result : undefined
  if (!row || row['needCount'] === null) {
    await mark(session, queue, { follower: next, id, told, result, until: session.nowMs + keptIdMs })
    return undefined
  }
  const isHeld = row['state'] === states.held
  if (row['isDoneNeeded'] === 1 && told.outcome !== 'done') return told.outcome === 'cancelled' && isHeld ? endingOf(row) : undefined
  const isNew = await mark(session, queue, { follower: next, id, told, result, until: null })
  if (isNew && isHeld) await count(session, queue, row, 1)
  return undefined
}

/**
 * A task that is held has come. Those that have ended before it did count.
 * @returns it when it is to be cancelled; what it was told stays then for its time, as if it had never been there
 */
export async function arrive(session: Session, queue: string, id: string): Promise<Ending | undefined> {
  const { tx, nowMs } = session
  await tx.run('delete from "queueEnded" where "queue" = ? and "follower" = ? and "until" <= ?', [queue, id, nowMs])
  if (!(await tx.first('select 1 from "queueEnded" where "queue" = ? and "follower" = ? limit 1', [queue, id]))) return undefined
  const row = await tx.first(`select ${endingColumns}, "isDoneNeeded", "delayMs" from "queueTask" where "queue" = ? and "id" = ?`, [
    queue,
    id,
  ])
  if (!row) return undefined
  const where = '"queue" = ? and "follower" = ? and "outcome" = ?'
  const of = (outcome: Ended['outcome']) => [queue, id, outcomes.indexOf(outcome)]
  if (row['isDoneNeeded'] === 1) {
    if (await tx.first(`select 1 from "queueEnded" where ${where} limit 1`, of('cancelled'))) return { ...endingOf(row), isFollower: false }
    await tx.run(`delete from "queueEnded" where ${where}`, of('dead'))
  }
  const { changes } = await tx.run('update "queueEnded" set "until" = null where "queue" = ? and "follower" = ?', [queue, id])
  if (changes > 0) await count(session, queue, row, changes)
  return undefined
}

/** So many more have ended. */
async function count(session: Session, queue: string, row: SqlRow, ended: number): Promise<void> {
  const left = Number(row['needCount']) - ended
  await session.tx.run('update "queueTask" set "needCount" = ? where "seq" = ?', [left, row['seq'] ?? null])
  if (left <= 0) await release(session, queue, row)
}

/** It waits, or is scheduled, from now. */
export async function release(session: Session, queue: string, row: SqlRow): Promise<void> {
  const summary = await session.of(queue)
  const delayMs = Number(row['delayMs'])
  const atMs = session.nowMs + delayMs
  const [state, line] = delayMs > 0 ? [states.scheduled, 0] : [states.waiting, atTail(summary)]
  await session.tx.run('update "queueTask" set "state" = ?, "line" = ?, "at" = ? where "seq" = ?', [state, line, atMs, row['seq'] ?? null])
  summary.held--
  if (state === states.waiting) {
    summary.waiting++
    await entered(session, summary, laneNameOf(row), Number(row['priority']))
  } else {
    summary.scheduled++
    if (summary.nextDueMs !== undefined) summary.nextDueMs = Math.min(summary.nextDueMs ?? atMs, atMs)
  }
  session.wake(queue)
}

interface Mark {
  follower: string
  id: string
  told: Told
  result: string | undefined
  until: number | null
}

/** @returns whether it is the first of this id; of a task that ends again what is more certain stands */
async function mark({ tx, nowMs }: Session, queue: string, { follower, id, told, result, until }: Mark): Promise<boolean> {
  const outcome = outcomes.indexOf(told.outcome)
  const values = [queue, follower, id, outcome, result ?? null, until]
  const insertion = 'insert into "queueEnded" ("queue", "follower", "id", "outcome", "result", "until") values (?1, ?2, ?3, ?4, ?5, ?6)'
  const { changes } = await tx.run(`${insertion} on conflict do nothing`, values)
  if (changes === 0)
    await tx.run(
      `update "queueEnded" set "outcome" = ?4, "result" = ?5, "until" = ?6
        where "queue" = ?1 and "follower" = ?2 and "id" = ?3 and ("outcome" < ?4 or "until" <= ?7)`,
      [...values, nowMs],
    )
  else if (until !== null) await purgeEnds(tx, nowMs, 2)
  return changes > 0
}

/** Nobody asks any more how those ended that it was held for. */
export const forgetEnds = ({ tx }: Session, queue: string, id: string): Promise<unknown> =>
  tx.run('delete from "queueEnded" where "queue" = ? and "follower" = ?', [queue, id])

/** Forgets what was told to tasks that have not come in time, of all queues. */
export const purgeEnds = (tx: Session['tx'], nowMs: number, most: number): Promise<unknown> =>
  tx.run(
    `delete from "queueEnded" where ("queue", "follower", "id") in
      (select "queue", "follower", "id" from "queueEnded" where "until" is not null and "until" <= +? order by "until" limit +?)`,
    [nowMs, most],
  )

export async function before(db: Session['tx'], queue: string, id: string, nowMs: number): Promise<Ended[]> {
  const rows = await db.all(
    `select "id", "outcome", "result" from "queueEnded" where "queue" = +? and "follower" = +? and ("until" is null or "until" > +?)
      order by "id" limit ${beforeMax}`,
    [queue, id, nowMs],
  )
  return rows.map(row => ({
    id: String(row['id']),
    outcome: outcomes[Number(row['outcome'])] ?? 'dead',
    ...(row['result'] === null ? {} : { result: String(row['result']) }),
  }))
}

/** What is said of few tasks, so that the others need not say that they say nothing. */
export const relate = (session: Session, queue: string, { id, follower, after, delayMs }: NewTask): Promise<unknown> =>
  session.tx.run(
    'update "queueTask" set "follower" = ?, "needCount" = ?, "isDoneNeeded" = ?, "delayMs" = ? where "queue" = ? and "id" = ?',
    [
      follower ? `${follower.wantsResult ? '+' : '-'}${follower.id}` : null,
      after?.count ?? null,
      after ? Number(after.isDoneNeeded) : null,
      after ? delayMs : null,
      queue,
      id,
    ],
  )
