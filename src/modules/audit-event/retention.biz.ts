import { toTimestamp } from '@/core/clock'
import type { Ports } from '@/core/ports'
import { hashOf, headDigest, isHeadTrue, isUnbegun } from './chain'
import { linkText, type Sighting, tellBack } from './sighting.biz'
import type { auditEventStore, auditHeadStore } from './store'

export type AuditRetentionBiz = ReturnType<typeof auditRetentionBiz>

/** Removes events that are older than the audit log is kept, from its beginning, and says now and then where it ends. */
export function auditRetentionBiz({
  db,
  clock,
  cipher,
  log,
  settings,
  events,
  heads,
  sighting,
}: Pick<Ports, 'db' | 'clock' | 'cipher' | 'log' | 'settings'> & {
  events: typeof auditEventStore
  heads: typeof auditHeadStore
  sighting: Sighting
}) {
  /**
   * Up to so many, 1–1000; what is not as it was written stays, with all behind it, until somebody has looked at it. @returns how many
   */
  async function removeOld(countMax: number): Promise<number> {
    const before = toTimestamp(clock.nowMs() - settings.admin.auditKeptMs)
    const [oldest] = await events(db).from(0, 1)
    // Most of the time there is nothing to do, and nobody has to wait for it.
    if (!oldest || oldest.createdAt >= before) return 0
    return db.tx(async tx => {
      const head = await heads(tx).hold()
      if (!head || !isHeadTrue(cipher, head)) return stopped(head?.cutSeq ?? 0)
      let at = { seq: head.cutSeq, hash: head.cutHash }
      for (const row of await events(tx).from(0, countMax)) {
        if (row.createdAt >= before) break
        if (row.seq !== at.seq + 1 || row.seq > head.seq || hashOf(cipher, at.hash, row) !== row.hash) {
          stopped(row.seq)
          break
        }
        at = row
      }
      if (at.seq === head.cutSeq) return 0
      const cut = { cutSeq: at.seq, cutHash: at.hash }
      await heads(tx).set({ ...cut, digest: headDigest(cipher, { ...head, ...cut }) })
      return events(tx).cut(at.seq)
    })
  }

  function stopped(seq: number): number {
    log.error('events of the audit log that are too old are kept, since they are not as they were written; see bingo audit verify', { seq })
    return 0
  }

  /**
   * Lines of the log are kept elsewhere: whoever sets back the whole database, and with it the head, is found by `bingo audit verify --head` with
   * what one of them says; and by this process, when it has seen more.
   */
  async function logHead(): Promise<void> {
    const { seen, isBehind } = sighting.watch()
    const { head } = await heads(db).ends()
    if (isBehind(head)) return
    if (head && isUnbegun(head))
      log.warn('nothing was ever written to the audit log, unless somebody has emptied it: has nobody been an administrator?')
    else if (!head || !isHeadTrue(cipher, head)) log.error('the head of the audit log was changed by somebody else; see bingo audit verify')
    else {
      if (seen && seen.seq > head.cutSeq && (await events(db).from(seen.seq, 1))[0]?.hash !== seen.hash) return tellBack(log, seen, head)
      log.info('the head of the audit log', { head: linkText(head) })
      sighting.keep(head)
    }
  }

  return { removeOld, logHead }
}
