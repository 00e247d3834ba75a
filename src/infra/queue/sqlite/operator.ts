import type { Database, SqlRow, SqlValue } from '@/core/database'
import type { QueueStats, TaskState } from '@/core/queue/admin'
import { queueErrors } from '@/core/queue/queue'
import type { BuryAnswer, CancelAnswer, Letter, RemoveAnswer, RetryAnswer, StoredTask } from '../driver'
import { end } from './ending'
import { holderOf } from './enqueue'
import { entered, withdrawn } from './lanes'
import { endingColumns, endingOf, laneNameOf, shownColumns, states, storedTask, withError } from './rows'
import { atTail, type Session, summaryOf } from './session'

/** What operators do. */

const find = (tx: Database, queue: string, id: string): Promise<SqlRow | undefined> =>
  tx.first(`select ${endingColumns}, "state" from "queueTask" where "queue" = ? and "id" = ?`, [queue, id])

export async function cancel(session: Session, queue: string, id: string): Promise<CancelAnswer> {
  const row = await find(session.tx, queue, id)
  if (!row) return 'absent'
  if (row['state'] === states.dead) return 'dead'
  if (row['state'] === states.done) return 'done'
  if (row['state'] === states.active) {
    await session.tx.run('update "queueTask" set "isCancelled" = 1 where "seq" = ?', [row['seq'] ?? null])
    session.cancelling(queue, id)
    return 'cancelling'
  }
  await removeResting(session, queue, row)
  const summary = await session.of(queue)
  summary.cancelled++
  return 'cancelled'
}

export async function retry(session: Session, queue: string, id: string): Promise<RetryAnswer> {
  const row = await session.tx.first(
    'select "seq", "state", "priority", "lane", "uniqueKey", "uniqueFor" from "queueTask" where "queue" = ? and "id" = ?',
    [queue, id],
  )
  if (!row) return 'absent'
  if (row['state'] !== states.dead) return 'alive'
  const summary = await session.of(queue)
  const key = row['uniqueKey']
  // Its own again, unless another has taken it meanwhile.
  const isItsOwn = typeof key === 'string' && (await holderOf(session, queue, key)) === undefined
  await session.tx.run(
    `update "queueTask" set "state" = ${states.waiting}, "line" = ?, "at" = ?, "failures" = 0, "crashes" = 0, "uniqueUntil" = ?
      where "seq" = ?`,
    [atTail(summary), session.nowMs, isItsOwn ? session.nowMs + Number(row['uniqueFor']) : null, row['seq'] ?? null],
  )
  summary.dead--
  summary.waiting++
  await entered(session, summary, laneNameOf(row), Number(row['priority']))
  session.wake(queue)
  return 'retried'
}

export async function remove(session: Session, queue: string, id: string): Promise<RemoveAnswer> {
  const row = await find(session.tx, queue, id)
  if (!row) return 'absent'
  if (row['state'] === states.active) return 'active'
  await removeResting(session, queue, row)
  return 'removed'
}

export async function buryResting(session: Session, queue: string, { id, error }: Letter): Promise<BuryAnswer> {
  const row = await session.tx.first(
    'select "seq", "state", "lane", "attempt", "errors", "follower", "needCount" from "queueTask" where "queue" = ? and "id" = ?',
    [queue, id],
  )
  if (!row) return 'absent'
  const state = row['state']
  if (state === states.active) return 'active'
  if (row['follower'] !== null || row['needCount'] !== null || state === states.done) return 'unfit'
  if (state === states.dead) return 'dead'
  const summary = await session.of(queue)
  const errors = withError(row['errors'], { ms: session.nowMs, attempt: Number(row['attempt']), message: error })
  await session.tx.run(
    `update "queueTask" set "state" = ${states.dead}, "line" = ?, "at" = ?, "errors" = ?, "uniqueUntil" = null where "seq" = ?`,
    [atTail(summary), session.nowMs, errors, row['seq'] ?? null],
  )
  session.ended(queue, id)
  if (state === states.waiting) {
    summary.waiting--
    await withdrawn(session, summary, laneNameOf(row))
  } else summary.scheduled--
  summary.dead++
  summary.died++
  summary.nextDueMs = undefined
  return 'buried'
}

async function removeResting(session: Session, queue: string, row: SqlRow): Promise<void> {
  const summary = await session.of(queue)
  // One that is done was remembered when it ended.
  const ending = endingOf(row)
  if (row['state'] === states.done) await end(session, queue, { ...ending, isIdKept: false }, undefined)
  else await end(session, queue, ending, { outcome: 'cancelled' })
  if (row['state'] === states.done) summary.kept--
  if (row['state'] === states.held) summary.held--
  if (row['state'] === states.waiting) {
    summary.waiting--
    await withdrawn(session, summary, ending.lane)
  }
  if (row['state'] === states.scheduled) summary.scheduled--
  if (row['state'] === states.dead) summary.dead--
  summary.nextDueMs = undefined
}

export async function setPaused(session: Session, queue: string, isPaused: boolean): Promise<void> {
  const summary = await session.of(queue)
  summary.isPaused = isPaused ? 1 : 0
  if (!isPaused) session.wake(queue)
}

export async function show(db: Database, queue: string, id: string): Promise<StoredTask | undefined> {
  const row = await db.first(`select ${shownColumns} from "queueTask" where "queue" = ? and "id" = ?`, [queue, id])
  return row && storedTask(row)
}

/** By which two columns the tasks of a state are in order, and how indexes know them. */
const orders: Record<TaskState, { by: readonly ['priority', 'line'] | readonly ['at', 'id']; isDown?: true; among: readonly string[] }> = {
  // As if there were no lanes: whose turn it is depends on what those ask for who claim.
  waiting: { by: ['priority', 'line'], among: ['"lane" is null and "state" = 0', '"lane" is not null and "state" = 0'] },
  scheduled: { by: ['at', 'id'], among: [`"state" = ${states.scheduled} and "state" > 0`] },
  active: { by: ['at', 'id'], among: [`"state" = ${states.active} and "state" > 0`] },
  held: { by: ['at', 'id'], among: [`"state" = ${states.held} and "state" > 0`] },
  done: { by: ['at', 'id'], among: [`"state" = ${states.done} and "state" > 0`] },
  dead: { by: ['at', 'id'], isDown: true, among: [`"state" = ${states.dead} and "state" > 0`] },
}

export async function list(
  db: Database,
  queue: string,
  { state, count, cursor }: { state: TaskState; count: number; cursor: string | undefined },
): Promise<{ tasks: StoredTask[]; cursor?: string }> {
  const { by, isDown, among } = orders[state]
  const [direction, beyond] = isDown ? ['desc', '<'] : ['asc', '>']
  const from = cursor === undefined ? [] : readCursor(cursor)
  const after = cursor === undefined ? '' : `and ("${by[0]}", "${by[1]}") ${beyond} (+?, +?)`
  const parts = among.map(one =>
    db.all(
      `select ${shownColumns} from "queueTask" where "queue" = +? and ${one} ${after}
        order by "${by[0]}" ${direction}, "${by[1]}" ${direction} limit +?`,
      [queue, ...from, count + 1],
    ),
  )
  const all = (await Promise.all(parts)).flat()
  const rows = among.length > 1 ? all.toSorted(byLine) : all
  const shown = rows.slice(0, count)
  const last = shown.at(-1)
  return {
    tasks: shown.map(storedTask),
    ...(last && rows.length > count ? { cursor: JSON.stringify([last[by[0]], last[by[1]]]) } : {}),
  }
}

const byLine = (one: SqlRow, other: SqlRow): number =>
  Number(one['priority']) - Number(other['priority']) || Number(one['line']) - Number(other['line'])

function readCursor(text: string): SqlValue[] {
  try {
    const values = JSON.parse(text) as unknown
    if (Array.isArray(values) && values.length === 2 && values.every(each => typeof each === 'number' || typeof each === 'string'))
      return values
  } catch {
    // Said below.
  }
  throw queueErrors.CursorInvalid()
}

export async function stats(db: Database, queue: string, nowMs: number): Promise<Omit<QueueStats, 'queue'>> {
  const summary = summaryOf(queue, await db.first('select * from "queueSummary" where "queue" = ?', [queue]))
  const firsts = orders.waiting.among.map(one =>
    db.all(`select "at", "priority", "line" from "queueTask" where "queue" = +? and ${one} order by "priority", "line" limit 1`, [queue]),
  )
  const [first] = (await Promise.all(firsts)).flat().toSorted(byLine)
  const { waiting, scheduled, held, active, kept, dead, enqueued, done, failed, crashed, died, cancelled } = summary
  return {
    waiting,
    scheduled,
    held,
    active,
    done: kept,
    dead,
    isPaused: summary.isPaused === 1,
    ...(first ? { oldestWaitingMs: Math.max(0, nowMs - Number(first['at'])) } : {}),
    total: { enqueued, done, failed, crashed, dead: died, cancelled },
  }
}
