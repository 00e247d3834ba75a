import type { Database } from '@/core/database'
import { undeclaredKeptMs } from '@/core/upkeep'
import { createHistory } from './history'
import { primary } from './rows'

/**
 * Removes schedules in code that no process has declared for so long that no version of the code will any more, with their history: up to
 * `countMax`. One that is declared just now stays. @returns their names
 */
export async function sweepUndeclared(db: Database, nowMs: number, countMax: number): Promise<string[]> {
  const isOld = `"origin" = 'code' and "declaredAtMs" < ?`
  const untilMs = nowMs - undeclaredKeptMs
  const found = await db.all(`select "id", "name" from "schedule" where ${isOld} order by "name" limit ${countMax}`, [untilMs], primary)
  const removed: string[] = []
  for (const row of found) {
    const id = String(row['id'])
    const isRemoved = await db.tx(async tx => {
      const { changes } = await tx.run(`delete from "schedule" where "id" = ? and ${isOld}`, [id, untilMs])
      if (changes > 0) await tx.run('delete from "scheduleTick" where "scheduleId" = ?', [id])
      return changes > 0
    })
    if (isRemoved) removed.push(String(row['name']))
  }
  return removed
}

/**
 * Who fires a schedule trims its history now and then. Cuts that of up to `countMax` which nobody fires: of those that are gone all, and of
 * those that are paused or come no more what is beyond the last ticks. @returns how many it were
 */
export async function sweepTicks(db: Database, countMax: number): Promise<number> {
  const gone = await db.all(
    // By the primary key, which has each schedule once, however many ticks it has.
    `select distinct "scheduleId" as "id" from "scheduleTick" as "t"
      where not exists (select 1 from "schedule" as "s" where "s"."id" = "t"."scheduleId") limit ${countMax}`,
    [],
    primary,
  )
  for (const row of gone) await db.run('delete from "scheduleTick" where "scheduleId" = ?', [String(row['id'])])
  const idle = await db.all(
    `select "id" from "schedule" where "untrimmed" > 0 and ("isPaused" = 1 or "nextAtMs" is null) order by "id" limit ${countMax - gone.length}`,
    [],
    primary,
  )
  const ids = idle.map(row => String(row['id']))
  if (ids.length > 0)
    await db.tx(async tx => {
      await tx.run(`update "schedule" set "untrimmed" = 0 where "id" in (${ids.map(() => '?').join(', ')})`, ids)
      await createHistory(db).trim(tx, ids)
    })
  return gone.length + ids.length
}
