import { toTimestamp } from '@/core/clock'
import type { SqlRow } from '@/core/database'
import type { TaskError, TaskState } from '@/core/queue/admin'
import { errorsMax, type Finish, type Held, keptError, type PeekedTask, type StoredTask } from '../driver'

/**
 * A task is one row of "queueTask":
 *
 * - `line`: its place among those of its priority that wait; among those that have ended, of a dead or done one. `at`: since when it could
 *   have been started, of a waiting one; when it may start, of a scheduled one; until when it is held, of an active one; when it ended, of
 *   a dead one; until when it is kept, of a done one.
 * - `nonce`, `worker`: who has it, while it is active. `finisher`: who has ended an attempt last, and how.
 * - `uniqueUntil`: until when it has its `uniqueKey`; null when it dies, and when somebody else took the key after that time. `uniqueFor`:
 *   for how many ms it gets the key, when it is enqueued and when it is retried.
 * - `groupKey`, `groupUntil`, `groupCount`: of one that collects others; see collect.ts.
 * - `errors`: JSON, `[[ms, attempt, message], …]`. `progress`: what an attempt has said last, until the task is gone. `result`: of a done one.
 *
 * - `follower`: of the task that is told how this one ends, `+<id>` when it wants the result, else `-<id>`. `needCount`: of one that is
 *   held, or was, for how many it is still; null of others. `isDoneNeeded`: only those count that are done. `delayMs`: its delay from then on.
 *
 * How tasks have ended that another is told of is in "queueEnded", `follower` being the id of that other, `outcome` one of `outcomes`. While
 * that one is there `until` is null; before it comes they are kept for a time.
 *
 * The condition of an index must be said by a query word for word to be used, hence `"state" > 0` beside the state itself. And
 * SQLite compiles a query with an order and `= ?` or `limit ?` anew each time it is run, which `+?` keeps it from.
 */
export const states = { waiting: 0, scheduled: 1, active: 2, dead: 3, done: 4, held: 5 } as const
const stateNames: readonly TaskState[] = ['waiting', 'scheduled', 'active', 'dead', 'done', 'held']

/** Of what is later here is known more: a dead letter may still be removed, and what was retried may be done. */
export const outcomes = ['dead', 'cancelled', 'done'] as const

/** What is to be known of a task when it ends. */
export interface Ending {
  seq: number
  id: string
  isIdKept: boolean
  follower: string | undefined
  /** It is held, or was. */
  isFollower: boolean
  priority: number
  lane: string | null
}
export const endingColumns = '"seq", "id", "isIdKept", "follower", "needCount", "priority", "lane"'
export const endingOf = (row: SqlRow): Ending => ({
  seq: Number(row['seq']),
  id: String(row['id']),
  isIdKept: row['isIdKept'] === 1,
  follower: row['follower'] === null ? undefined : String(row['follower']),
  isFollower: row['needCount'] !== null,
  priority: Number(row['priority']),
  lane: laneNameOf(row),
})

/** The lane of a row; null when it has none. */
export const laneNameOf = ({ lane }: SqlRow): string | null => (typeof lane === 'string' ? lane : null)

/** The columns that make a `StoredTask`. */
export const shownColumns = [
  'id',
  'state',
  'priority',
  'line',
  'at',
  'attempt',
  'failures',
  'crashes',
  'isCancelled',
  'worker',
  'lane',
  'uniqueKey',
  'uniqueFor',
  'errors',
  'progress',
  'result',
  'needCount',
  'envelope',
]
  .map(name => `"${name}"`)
  .join(', ')

/** The columns that a claim is given, with what places it among the others. */
export const claimedColumns = '"id", "priority", "attempt", "failures", "crashes", "envelope"'

export function storedTask(row: SqlRow): StoredTask {
  const state = stateNames[Number(row['state'])] ?? 'waiting'
  return {
    id: String(row['id']),
    state,
    priority: Number(row['priority']),
    envelope: String(row['envelope']),
    attempt: Number(row['attempt']),
    failures: Number(row['failures']),
    crashes: Number(row['crashes']),
    isCancelled: row['isCancelled'] === 1,
    ...(row['uniqueKey'] === null ? {} : { unique: { key: String(row['uniqueKey']), forMs: Number(row['uniqueFor']) } }),
    ...(state === 'active' ? { worker: String(row['worker'] ?? '') } : {}),
    ...(state === 'waiting' ? {} : { atMs: Number(row['at']) }),
    ...(state === 'held' ? { heldFor: Number(row['needCount']) } : {}),
    ...(row['progress'] === null ? {} : { progress: String(row['progress']) }),
    ...(row['result'] === null ? {} : { result: String(row['result']) }),
    ...(row['lane'] === null ? {} : { lane: String(row['lane']) }),
    errors: readErrors(row['errors']).map(([ms, attempt, message]): TaskError => ({ at: toTimestamp(ms), attempt, message })),
  }
}

export function peekedTask(row: SqlRow): PeekedTask {
  const state = stateNames[Number(row['state'])]
  const error = state === 'dead' ? readErrors(row['errors']).at(-1)?.[2] : undefined
  return {
    ...((state === 'done' || state === 'dead') && { outcome: state }),
    ...(row['result'] !== null && { result: String(row['result']) }),
    ...(error !== undefined && { error }),
    ...(row['progress'] !== null && { progress: String(row['progress']) }),
  }
}

type KeptError = [ms: number, attempt: number, message: string]

/** @returns the column with one more error, the oldest dropped when there are too many */
export function withError(errors: unknown, error: { ms: number; attempt: number; message: string }): string {
  const kept = readErrors(errors)
  kept.push([error.ms, error.attempt, keptError(error.message)])
  return JSON.stringify(kept.slice(-errorsMax))
}

function readErrors(column: unknown): KeptError[] {
  if (typeof column !== 'string') return []
  try {
    return JSON.parse(column) as KeptError[]
  } catch {
    return []
  }
}

/** What is kept of who ended an attempt, so that the same said again is known. */
export const finisherOf = ({ attempt, nonce }: Held, outcome: Finish['outcome']): string => `${attempt} ${nonce} ${outcome}`
