import type { Actor } from '@/core/audit'
import { monthMs, systemClock } from '@/core/clock'
import type { Database, SqlValue } from '@/core/database'
import { auditEventBiz } from '@/modules/audit-event/biz'
import { auditReadBiz } from '@/modules/audit-event/read.biz'
import { auditRetentionBiz } from '@/modules/audit-event/retention.biz'
import { createSighting } from '@/modules/audit-event/sighting.biz'
import { auditEventStore, auditHeadStore } from '@/modules/audit-event/store'
import { auditVerifyBiz } from '@/modules/audit-event/verify.biz'
import { settingsOf } from './accounts'
import { openAgain } from './conformance/fixture'
import { fakeLog, testCipher } from './fakes'

export const grace: Actor = { actor: 'admin:grace', actorName: 'grace', address: '192.0.2.7', requestId: 'r-1' }
export const auditKeptMs = monthMs

/** An audit log on a database, with the key of tests. */
export function auditOn(db: Database, clock = systemClock) {
  const log = fakeLog()
  const settings = { ...settingsOf(), admin: { ...settingsOf().admin, auditKeptMs } }
  const tools = {
    db,
    clock,
    cipher: testCipher,
    log,
    settings,
    events: auditEventStore,
    heads: auditHeadStore,
    sighting: createSighting(log),
  }
  const audit = auditEventBiz(tools)
  return { ...audit, ...auditReadBiz({ ...tools, audit }), ...auditVerifyBiz(tools), ...auditRetentionBiz(tools), log }
}

/** All of it, to be put back as it was: an array of SQL values each, in the order of the columns. */
export async function auditRows(db: Database): Promise<Record<'auditEvent' | 'auditHead', Record<string, SqlValue>[]>> {
  return { auditEvent: await db.all('select * from "auditEvent" order by "seq"'), auditHead: await db.all('select * from "auditHead"') }
}

export async function putBack(db: Database, rows: Awaited<ReturnType<typeof auditRows>>): Promise<void> {
  for (const table of ['auditEvent', 'auditHead'] as const) {
    await db.run(`delete from "${table}"`)
    for (const row of rows[table]) await insertRow(db, table, row)
  }
}

export async function insertRow(db: Database, table: 'auditEvent' | 'auditHead', row: Record<string, SqlValue>): Promise<void> {
  const names = Object.keys(row)
  const sql = `insert into "${table}" (${names.map(name => `"${name}"`).join(', ')}) values (${names.map(() => '?').join(', ')})`
  await db.run(sql, Object.values(row))
}

/** Run as a process: writes down so many events at once, each in a transaction that changes something else, too. */
if (import.meta.main) {
  const [url = '', name = '', count = ''] = process.argv.slice(2)
  const db = await openAgain({ url })
  const { record } = auditOn(db)
  const each = (i: number) =>
    db.tx(tx => record(tx, { ...grace, actorName: name }, { action: 'thing.change', after: { i } }), { timeoutMs: 60_000 })
  await Promise.all(Array.from({ length: Number(count) }, (_, i) => each(i)))
  await db.close()
}
