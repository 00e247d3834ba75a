import type { Database } from '@/core/database'
import { historyMax, historyMs, type Snapshot, snapshotEveryMs } from '../driver'
import type { Seen } from '../latency'
import { packSeen, packTotal, readSeen, readTotal } from '../snapshot'
import type { Session, Summary } from './session'

/** What was counted each ten seconds of an hour, and what was seen since: rows of "queueHistory". */
export interface History {
  note(session: Session, queue: string, seen: Seen | undefined): Promise<void>
  read(db: Database, queue: string, nowMs: number): Promise<Snapshot[]>
}

export function createHistory(): History {
  /** When this process has last found a queue as its newest row says: an idle one is not written to. */
  const unchangedMs = new Map<string, number>()

  return {
    async note({ tx, nowMs, of }, queue, seen) {
      const total = packTotal(totalOf(await of(queue)))
      const handedIn = seen ? packSeen(seen) : ''
      const row = await tx.first('select "at", "total", "seen" from "queueHistory" where "queue" = +? order by "at" desc limit 1', [queue])
      const newest = row && { atMs: Number(row['at']), total: String(row['total']), seen: String(row['seen']) }
      const ageMs = newest ? nowMs - newest.atMs : -1
      if (newest && ageMs >= 0 && ageMs < snapshotEveryMs) {
        if (handedIn === '') return
        const sum = packSeen(readSeen(`${newest.seen} ${handedIn}`))
        await tx.run('update "queueHistory" set "seen" = ? where "queue" = ? and "at" = ?', [sum, queue, newest.atMs])
        return
      }
      if (newest && ageMs >= 0 && newest.total === total && handedIn === '') {
        unchangedMs.set(queue, nowMs)
        return
      }
      // Until then nothing had happened: all that has since is not spread over the time before.
      const idleMs = unchangedMs.get(queue)
      if (newest && idleMs !== undefined && idleMs > newest.atMs && idleMs < nowMs) await add(tx, queue, idleMs, newest.total, '')
      await add(tx, queue, nowMs, total, handedIn)
      // A clock that was set back begins anew.
      await tx.run('delete from "queueHistory" where "queue" = ? and ("at" < ? or "at" > ?)', [queue, nowMs - 2 * historyMs, nowMs])
    },

    async read(db, queue, nowMs) {
      const rows = await db.all(
        'select "at", "total", "seen" from "queueHistory" where "queue" = +? and "at" between +? and +? order by "at" desc limit +?',
        [queue, nowMs - historyMs, nowMs, historyMax],
      )
      return rows.map(row => ({
        agoMs: nowMs - Number(row['at']),
        total: readTotal(String(row['total'])),
        seen: readSeen(String(row['seen'])),
      }))
    },
  }
}

const add = (tx: Database, queue: string, atMs: number, total: string, seen: string): Promise<unknown> =>
  tx.run('insert into "queueHistory" ("queue", "at", "total", "seen") values (?, ?, ?, ?) on conflict do nothing', [
    queue,
    atMs,
    total,
    seen,
  ])

const totalOf = ({ enqueued, done, failed, crashed, died, cancelled }: Summary) => ({
  ...{ enqueued, done, failed, crashed, dead: died, cancelled },
})
