import { toTimestamp } from '@/core/clock'
import type { Database, SqlRow } from '@/core/database'
import { aliveMs, type ProcessFacts, processesMax, type ProcessView } from '@/core/processes'

/**
 * The table "process", one row for each process that was started and not stopped. Instants are milliseconds by the clock of the database
 * server, on SQLite of the machine: so that processes whose clocks differ agree on who is alive.
 */
const listed = '"id", "roles", "version", "host", "pid", "startedAtMs", "seenAtMs"'
const primary = { from: 'primary' } as const

/** What a row has room for; what a machine calls itself is any text. */
const textMax = { roles: 128, version: 64, host: 255 } as const

/** Of one that is not there, or was swept while it was away, a row is made. */
export async function keepProcess(db: Database, { id, roles, version, host, pid }: ProcessFacts, startedAtMs: number, nowMs: number) {
  const { changes } = await db.run('update "process" set "seenAtMs" = ? where "id" = ?', [nowMs, id])
  if (changes > 0) return
  const texts = [roles.join(',').slice(0, textMax.roles), version.slice(0, textMax.version), host.slice(0, textMax.host)]
  await db.run(`insert into "process" (${listed}) values (?, ?, ?, ?, ?, ?, ?)`, [id, ...texts, pid, startedAtMs, nowMs])
}

export const removeProcess = (db: Database, id: string) => db.run('delete from "process" where "id" = ?', [id])

/** Removes those that nobody has seen since. */
export const sweepProcesses = (db: Database, beforeMs: number) => db.run('delete from "process" where "seenAtMs" < ?', [beforeMs])

export async function listProcesses(db: Database, nowMs: number): Promise<ProcessView[]> {
  const rows = await db.all(`select ${listed} from "process" order by "seenAtMs" desc, "id" limit ${processesMax}`, [], primary)
  return rows.map(row => viewOf(row, nowMs)).toSorted(byRole)
}

function viewOf(row: SqlRow, nowMs: number): ProcessView {
  const [startedAtMs, seenAtMs] = [Number(row['startedAtMs']), Number(row['seenAtMs'])]
  return {
    ...{ id: String(row['id']), roles: String(row['roles']).split(','), version: String(row['version']) },
    ...{ host: String(row['host']), pid: Number(row['pid']) },
    ...{ startedAt: toTimestamp(startedAtMs), seenAt: toTimestamp(seenAtMs), isAlive: nowMs - seenAtMs <= aliveMs },
  }
}

/** Ids are made of the time, so the oldest is the first. */
const byRole = (a: ProcessView, b: ProcessView): number => compared(a.roles.join(), b.roles.join()) || compared(a.id, b.id)
const compared = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
