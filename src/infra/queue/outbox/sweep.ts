import type { Database } from '@/core/database'
import { givenUpKeptMs } from '@/core/upkeep'

/**
 * Removes from the outbox what was given up so long ago that nobody will decide about it any more: up to `countMax` rows, oldest first.
 * One that an operator tries again just now stays, and so does one for which others are held, since they would be for ever. @returns the ids
 */
export async function sweepOutbox(db: Database, countMax: number): Promise<string[]> {
  if (db.dialect.name === 'sqlite') return []
  const isAwaited = `json_contains_path("extras", 'one', '$.follower')`
  const isOld = `"gaveUpAt" < utc_timestamp(3) - interval ${Math.floor(givenUpKeptMs / 1000)} second and ${isAwaited} is not true`
  return db.tx(
    async tx => {
      // Looked for without locks, so that no relay passes over what is looked at.
      const found = await tx.all(`select "seq", "taskId" from "outbox" where ${isOld} order by "seq" limit ${countMax}`)
      const removed: string[] = []
      for (const { seq, taskId } of found) {
        const { changes } = await tx.run(`delete from "outbox" where "seq" = ? and ${isOld}`, [Number(seq)])
        if (changes > 0) removed.push(String(taskId))
      }
      return removed
    },
    { isolation: 'read committed' },
  )
}
