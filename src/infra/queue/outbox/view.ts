import type { Database, SqlRow } from '@/core/database'
import type { OutboxView } from '../admin'
import type { StoredTask } from '../driver'
import { readExtras } from './extras'

/** The table "outbox" as operators look at it. */
const countMax = 100_000
const now = 'utc_timestamp(3)'
const dueMs = `timestampdiff(microsecond, '1970-01-01', "madeAt") div 1000 + "delayMs"`
const isDue = `timestampdiff(microsecond, "madeAt", ${now}) div 1000 >= "delayMs"`
const primary = { from: 'primary' } as const

export const outboxView = (db: Database): OutboxView => ({
  async count(queue) {
    const some = `select "seq" from "outbox" where "queue" = ? limit ${countMax}`
    const row = await db.first(`select count(*) as "count" from (${some}) as "some"`, [queue], primary)
    return Number(row?.['count'] ?? 0)
  },
  async show(id, queues) {
    const marks = queues.map(() => '?').join(', ')
    const sql = `select "queue", "taskId", "priority", "envelope", "extras", ${dueMs} as "dueMs", ${isDue} as "isDue" from "outbox" where "taskId" = ? and "queue" in (${marks}) order by "seq" limit 1`
    const row = await db.first(sql, [id, ...queues], primary)
    return row && { queue: String(row['queue']), task: taskOf(row) }
  },
  async held(ids) {
    const found = new Map<string, Set<string>>()
    if (ids.length === 0) return found
    const sql = `select "taskId", "queue" from "outbox" where "taskId" in (${ids.map(() => '?').join(', ')})`
    for (const row of await db.all(sql, ids, primary)) {
      const id = String(row['taskId'])
      found.set(id, (found.get(id) ?? new Set()).add(String(row['queue'])))
    }
    return found
  },
})

function taskOf(row: SqlRow): StoredTask {
  const { lane, after } = readExtras(row['extras'])
  return {
    id: String(row['taskId']),
    state: after ? 'held' : Number(row['isDue']) === 1 ? 'waiting' : 'scheduled',
    priority: Number(row['priority']),
    envelope: String(row['envelope']),
    ...(after ? { heldFor: after.count } : { atMs: Number(row['dueMs']) }),
    ...(lane !== undefined && { lane }),
    ...{ attempt: 0, failures: 0, crashes: 0, isCancelled: false, errors: [] },
  }
}
