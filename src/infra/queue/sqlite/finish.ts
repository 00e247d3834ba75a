import type { SqlRow } from '@/core/database'
import type { Finish, FinishStatus } from '../driver'
import { bury, end, keep } from './ending'
import { entered, lookUp, vacated } from './lanes'
import { type Ending, endingColumns, endingOf, finisherOf, laneNameOf, states, withError } from './rows'
import { atHead, atTail, type Session, type Summary } from './session'

export async function finish(session: Session, queue: string, said: readonly Finish[]): Promise<FinishStatus[]> {
  const statuses: FinishStatus[] = []
  if (said.length > 1) {
    const summary = await session.of(queue)
    if (summary.lanes > 0) await lookUp(session, summary, new Set(said.flatMap(each => session.attempts.laneOf(queue, each) ?? [])))
  }
  for (const each of said) statuses.push(await finishOne(session, queue, each))
  return statuses
}

async function finishOne(session: Session, queue: string, said: Finish): Promise<FinishStatus> {
  if (said.outcome === 'done' && !said.keepForMs && (await isDone(session, queue, said))) return 'ok'
  const row = await session.tx.first(
    `select ${endingColumns}, "state", "attempt", "nonce", "failures", "crashes", "isCancelled", "finisher", "errors"
      from "queueTask" where "queue" = ? and "id" = ?`,
    [queue, said.id],
  )
  if (!row) return 'gone'
  const isHeld = row['state'] === states.active && row['attempt'] === said.attempt && row['nonce'] === said.nonce
  if (!isHeld) return row['finisher'] === finisherOf(said, said.outcome) ? 'ok' : 'stale'
  if (row['lane'] !== null) session.attempts.forget(queue, said)
  await apply(session, queue, row, said)
  return 'ok'
}

/** How nearly all end, in one statement. */
async function isDone(session: Session, queue: string, said: Finish): Promise<boolean> {
  const summary = await session.of(queue)
  const which = [queue, said.id, said.attempt, said.nonce]
  let lane: string | null = null
  const known = summary.lanes === 0 ? null : session.attempts.laneOf(queue, said)
  if (known === undefined) {
    const row = await session.tx.first(`${deletion} returning "lane"`, which)
    if (!row) return false
    lane = laneNameOf(row)
  } else {
    const { changes } = await session.tx.run(deletion, which)
    if (changes === 0) return false
    lane = known
    if (lane !== null) session.attempts.forget(queue, said)
  }
  await vacated(session, summary, lane)
  summary.done++
  return true
}

const deletion = `delete from "queueTask" where "queue" = ? and "id" = ? and "attempt" = ? and "nonce" = ? and "state" = ${states.active}
  and "isIdKept" = 0 and "follower" is null and "needCount" is null`

async function apply(session: Session, queue: string, row: SqlRow, said: Finish): Promise<void> {
  const summary = await session.of(queue)
  if (said.outcome === 'done' || said.outcome === 'cancelled' || row['isCancelled'] === 1) {
    const ending = endingOf(row)
    if (said.outcome === 'done' && said.keepForMs) {
      const { keepForMs, result } = said
      await keep(session, summary, { ...ending, finisher: finisherOf(said, 'done'), keepForMs, result })
    } else {
      await end(session, queue, ending, said.outcome === 'done' ? { outcome: 'done', result: said.result } : { outcome: 'cancelled' })
    }
    await vacated(session, summary, ending.lane)
    summary[said.outcome === 'done' ? 'done' : 'cancelled']++
    return
  }
  const failed = said.outcome === 'retry' || (said.outcome === 'dead' && said.isFailure) ? 1 : 0
  const failures = Number(row['failures']) + failed
  summary.failed += failed
  const finisher = finisherOf(said, said.outcome)
  const errors =
    'error' in said ? withError(row['errors'], { ms: session.nowMs, attempt: said.attempt, message: said.error }) : (row['errors'] ?? null)
  if (said.outcome === 'dead') {
    const task = { ...endingOf(row), failures, crashes: Number(row['crashes']), errors: String(errors), finisher }
    await bury(session, summary, task)
    return
  }
  await leave(session, summary, { ...endingOf(row), failures, crashes: Number(row['crashes']), errors, finisher }, placeOf(said))
  session.wake(queue)
}

function placeOf(said: Finish): Place {
  if (said.outcome === 'release') return 'head'
  return 'delayMs' in said && said.delayMs > 0 ? { delayMs: said.delayMs } : 'tail'
}

/** Where a task goes that is to be worked on again. */
export type Place = 'head' | 'tail' | { delayMs: number }

/** Takes an active task from its worker. A finisher of null leaves the one before. */
export async function leave(
  session: Session,
  summary: Summary,
  task: Pick<Ending, 'seq' | 'priority' | 'lane'> & {
    failures: number
    crashes: number
    errors: string | SqlRow[string]
    finisher: string | null
  },
  place: Place,
): Promise<void> {
  const { tx, nowMs } = session
  const isScheduled = typeof place === 'object'
  const atMs = isScheduled ? nowMs + place.delayMs : nowMs
  const line = place === 'head' ? atHead(summary) : place === 'tail' ? atTail(summary) : 0
  await tx.run(
    `update "queueTask" set "state" = ?, "line" = ?, "at" = ?, "failures" = ?, "crashes" = ?, "errors" = ?, "finisher" = coalesce(?, "finisher"),
      "nonce" = null, "worker" = null where "seq" = ?`,
    [
      isScheduled ? states.scheduled : states.waiting,
      line,
      atMs,
      task.failures,
      task.crashes,
      task.errors ?? null,
      task.finisher,
      task.seq,
    ],
  )
  await vacated(session, summary, task.lane)
  if (isScheduled) {
    summary.scheduled++
    if (summary.nextDueMs !== undefined) summary.nextDueMs = Math.min(summary.nextDueMs ?? atMs, atMs)
  } else {
    summary.waiting++
    await entered(session, summary, task.lane, task.priority)
  }
}
