import type { Database, SqlRow, SqlValue } from '@/core/database'
import type { OutboxAdmin } from '../admin'
import type { NewTask } from '../driver'
import { extrasText, readExtras } from './extras'
import type { OutboxWriter } from '../queue'

/**
 * The table "outbox" of MySQL: tasks that were enqueued in a transaction and commit with it, until a relay has handed them to
 * Redis. All times are the server's, so that the clocks of processes do not matter.
 *
 * - `claimedAt`: when a relay first was about to hand it over. From then on nobody but Redis knows whether it was.
 * - `takenUntil`: until when the others leave it to the relay that has it.
 * - `gaveUpAt`: nobody hands it over any more, and an operator decides.
 */
export interface OutboxRows extends OutboxWriter, OutboxAdmin {
  /** Whether there is something to take, by one cheap look. */
  hasSome(skip?: Skip): Promise<boolean>
  /** Marks the oldest that nobody has, and commits that. What has been marked for too long is given up instead. */
  take(skip?: Skip): Promise<Taken>
  /** They have been handed over. */
  drop(rows: readonly Row[]): Promise<void>
  /** They could not be handed over; they stay marked, and are taken again after so long. */
  putBack(rows: readonly Row[], afterMs: number): Promise<void>
  /** The queue says that it has not got them, nor has had them: they are as if they had never been marked. */
  unmark(rows: readonly Row[]): Promise<void>
  look(): Promise<OutboxState>
}

export interface Taken {
  rows: Row[]
  /** Ids. */
  givenUp: string[]
  /** There may be more to take. */
  isMore: boolean
  /** With `skip` and no more to take: from where on there may be, for whoever skips the same. */
  nextSeq?: number
}
/**
 * Rows of these queues are left where they are, except those that another task waits for, which has room of the queue until they have ended.
 * All before `fromSeq` are known to be left.
 */
export interface Skip {
  queues: readonly string[]
  fromSeq: number
}
export interface Row {
  seq: number
  queue: string
  task: NewTask
}
export interface OutboxState {
  /** To be handed over; counted up to `countMax`. */
  rows: number
  oldestMs: number
  givenUp: number
}

/** Rows in one statement: each number of rows is a statement of its own on the server. */
const insertMax = 100
const takeMax = 200
/** Bytes of envelopes that are taken at once, unless one alone is larger. */
const takeBytesMax = 4 * 1024 * 1024
/** When a relay has not been done with what it took for so long, others take it. */
export const takenForMs = 30_000
/**
 * An id is remembered for 24 hours after its task has ended, and it may have ended as soon as it was marked. An hour less, for
 * clocks that differ and calls that are slow.
 */
const claimedForHoursMax = 23
/** Counting more takes long, and says no more. */
const countMax = 100_000

const columns = ['queue', 'taskId', 'priority', 'delayMs', 'uniqueKey', 'uniqueForMs', 'extras', 'envelope'] as const
const listed = columns.map(column => `"${column}"`).join(', ')
const now = 'utc_timestamp(3)'
const oneRow = `(${columns.map(() => '?').join(', ')}, ${now})`
const mayBeTaken = `"gaveUpAt" is null and ("takenUntil" is null or "takenUntil" <= ${now})`
const isAwaited = `json_contains_path("extras", 'one', '$.follower')`
const primary = { from: 'primary' } as const
/**
 * Rows by their numbers, a JSON array, each looked up by itself. `"seq" in (…)` would be a scan of the whole table when that looks cheaper,
 * which waits for every row that an open transaction has added.
 */
const those = `json_table(?, '$[*]' columns ("no" bigint path '$')) as "those" straight_join "outbox" force index (primary) on "outbox"."seq" = "those"."no"`

/** @param ring called after the commit of what was added */
export function createOutboxRows(db: Database, ring: () => void): OutboxRows {
  return {
    async add(tx, queue, tasks) {
      for (let i = 0; i < tasks.length; i += insertMax) {
        const some = tasks.slice(i, i + insertMax)
        const rows = some.map(() => oneRow).join(', ')
        await tx.run(
          `insert into "outbox" (${listed}, "madeAt") values ${rows}`,
          some.flatMap(task => valuesOf(queue, task)),
        )
      }
      // Rung for nothing does no harm, and a commit of which nothing is known may have been one.
      await tx.afterCommit(ring, ring)
    },

    async hasSome(skip) {
      const { sql, values } = sought(skip)
      return (await db.first(`select "seq" from "outbox" where ${sql} limit 1`, values, primary)) !== undefined
    },

    take: skip =>
      // Of what it reads nothing but the rows it takes stays locked, so that nobody who adds some waits.
      db.tx(tx => takeWithin(tx, skip), { isolation: 'read committed' }),

    drop: rows => onEach(rows, db, `delete "outbox" from ${those}`),

    putBack: (rows, afterMs) =>
      onEach(rows, db, `update ${those} set "takenUntil" = ${now} + interval ${Math.ceil(afterMs / 1000)} second`),

    unmark: rows => onEach(rows, db, `update ${those} set "claimedAt" = null, "takenUntil" = null`),

    async look() {
      const counted = `select "gaveUpAt" is not null as "isGivenUp", "madeAt" from "outbox" order by "seq" limit ${countMax}`
      const sql = `select "isGivenUp", count(*) as "count", timestampdiff(microsecond, min("madeAt"), ${now}) div 1000 as "ageMs" from (${counted}) as "some" group by "isGivenUp"`
      const found = await db.all(sql, [], primary)
      const of = (isGivenUp: boolean) => found.find(row => Boolean(Number(row['isGivenUp'])) === isGivenUp)
      const waiting = of(false)
      return {
        rows: Number(waiting?.['count'] ?? 0),
        oldestMs: Math.max(0, Number(waiting?.['ageMs'] ?? 0)),
        givenUp: Number(of(true)?.['count'] ?? 0),
      }
    },

    async givenUp(queue, count) {
      const sql = `select "taskId", cast("claimedAt" as char(19)) as "claimedAt" from "outbox" where "gaveUpAt" is not null and "queue" = ? order by "seq" limit ${count}`
      const found = await db.all(sql, [queue], primary)
      return found.map(row => ({
        id: String(row['taskId']),
        reason: `it was to be handed over since ${row['claimedAt']} UTC, and nobody knows any more whether it was`,
      }))
    },

    async retry(id) {
      const sql = `update "outbox" set "claimedAt" = null, "takenUntil" = null, "gaveUpAt" = null where "taskId" = ? and "gaveUpAt" is not null`
      const { changes } = await db.run(sql, [id])
      if (changes > 0) ring()
      return changes > 0
    },

    async remove(id) {
      // One that is marked is perhaps with Redis already, where it is looked for next.
      const { changes } = await db.run('delete from "outbox" where "taskId" = ? and ("gaveUpAt" is not null or "claimedAt" is null)', [id])
      return changes > 0
    },
  }
}

const sought = (skip: Skip | undefined): { sql: string; values: SqlValue[] } =>
  skip && skip.queues.length > 0
    ? {
        sql: `${mayBeTaken} and "seq" >= ? and ("queue" not in (${skip.queues.map(() => '?').join(', ')}) or ${isAwaited})`,
        values: [skip.fromSeq, ...skip.queues],
      }
    : { sql: mayBeTaken, values: [] }

async function takeWithin(tx: Database, skip: Skip | undefined): Promise<Taken> {
  const { sql, values } = sought(skip)
  const last = skip && (await tx.first('select max("seq") as "seq" from "outbox"'))
  const isOld = `coalesce("claimedAt" < ${now} - interval ${claimedForHoursMax} hour, 0)`
  const found = await tx.all(
    `select "seq", octet_length("envelope") as "bytes", ${isOld} as "isOld", "taskId" from "outbox" where ${sql} order by "seq" limit ${takeMax} for update skip locked`,
    values,
  )
  const old = found.filter(row => Number(row['isOld']) === 1)
  const fresh = found.filter(row => Number(row['isOld']) === 0)
  const taken = fresh
    .slice(
      0,
      countWithin(
        fresh.map(row => Number(row['bytes'])),
        takeBytesMax,
      ),
    )
    .map(seqOf)
  const seconds = takenForMs / 1000
  await onEach(old.map(seqOf), tx, `update ${those} set "gaveUpAt" = ${now}`)
  await onEach(
    taken,
    tx,
    `update ${those} set "claimedAt" = coalesce("claimedAt", ${now}), "takenUntil" = ${now} + interval ${seconds} second`,
  )
  const age = `timestampdiff(microsecond, "madeAt", ${now}) div 1000 as "ageMs"`
  const rows = taken.length === 0 ? [] : await tx.all(`select "seq", ${listed}, ${age} from ${those} order by "seq"`, [seqsOf(taken)])
  const isMore = found.length === takeMax || taken.length < fresh.length
  return {
    rows: rows.map(rowOf),
    givenUp: old.map(row => String(row['taskId'])),
    isMore,
    ...(skip && !isMore && { nextSeq: Math.max(skip.fromSeq, Number(last?.['seq'] ?? 0) + 1) }),
  }
}

/** How many of them, one at least, are within a sum. */
function countWithin(sizes: readonly number[], sum: number): number {
  let left = sum
  const over = sizes.findIndex(size => {
    left -= size
    return left < 0
  })
  return over === -1 ? sizes.length : Math.max(1, over)
}

const valuesOf = (queue: string, { id, priority, delayMs, unique, envelope, ...task }: NewTask): SqlValue[] => [
  queue,
  id,
  priority,
  delayMs,
  unique?.key ?? null,
  unique?.forMs ?? null,
  extrasText(task),
  envelope,
]

function rowOf(row: SqlRow): Row {
  const ageMs = Math.max(0, Number(row['ageMs']))
  const task: NewTask = {
    id: String(row['taskId']),
    // Whoever hands it over again, after a crash, finds it there, or that it has been there.
    isIdKept: true,
    priority: Number(row['priority']),
    delayMs: Number(row['delayMs']),
    envelope: String(row['envelope']),
    ...readExtras(row['extras']),
  }
  // Time has passed since it was enqueued. But that of one that waits for others begins when they have ended.
  if (!task.after) task.delayMs = Math.max(0, task.delayMs - ageMs)
  if (row['uniqueKey'] !== null) task.unique = { key: String(row['uniqueKey']), forMs: Math.max(1, Number(row['uniqueForMs']) - ageMs) }
  return { seq: seqOf(row).seq, queue: String(row['queue']), task }
}

const seqOf = (row: SqlRow): Pick<Row, 'seq'> => ({ seq: Number(row['seq']) })

const seqsOf = (rows: readonly Pick<Row, 'seq'>[]): string => JSON.stringify(rows.map(({ seq }) => seq))

/** @param sql of `those` */
async function onEach(rows: readonly Pick<Row, 'seq'>[], on: Database, sql: string): Promise<void> {
  if (rows.length > 0) await on.run(sql, [seqsOf(rows)])
}
