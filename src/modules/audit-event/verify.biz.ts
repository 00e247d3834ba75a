import type { Ports } from '@/core/ports'
import { hashOf, isHeadTrue, isUnbegun } from './chain'
import type { AuditEventRow, AuditHeadRow } from './schema'
import type { auditEventStore, auditHeadStore } from './store'

export type AuditVerifyBiz = ReturnType<typeof auditVerifyBiz>

/** A place in the chain. */
export interface ChainLink {
  seq: number
  hash: string
}

export type Verdict =
  | {
      isWhole: true
      head: ChainLink
      /** How many events there are. */
      events: number
      /** The last event that was removed for its age; 0 when none was. */
      removedUpTo: number
      /** When it began. Whoever empties it whole has it begin anew, and cannot have it begin in the past. */
      begunAt: string
      /** How the head that was noted stands to it: `older` than what is kept, so nothing can be said. */
      noted?: 'matches' | 'older'
    }
  | { isWhole: false; seq: number; problem: string }

export interface VerifyOptions {
  /** A head that was noted before, and kept where whoever writes to the database does not. */
  noted?: ChainLink
  progress?(done: number, total: number): void
}

/** Rows that are in memory at a time. */
const rowsAtOnce = 500

const problems = {
  headless: 'the table auditHead has lost its row, so nobody can tell which event was the last',
  unbegun: 'there is none, and never was, if nobody has ever been an administrator here; else somebody has emptied it',
  head: 'what the table auditHead says of the last event, or of those that were removed for their age, was changed, or auth.key is another one than it was written with',
  first: 'it stands before the first event that may be there: it was put in, or the head was set back',
  last: 'it stands behind the last event that the head knows: it was put in, or the head was set back',
  missing: 'it is not there: it was deleted',
  twice: 'it is there twice: one was put in',
  changed: 'something of it was changed, or it was put in',
  headHash: 'it is another one than the head says: both were changed',
  noted: 'it is another one than was noted: it was changed, with the events behind it and the head',
  notedGone: 'it was there when the head was noted, and is not any more: the last events were deleted, and the head was set back',
} as const

/** Whether the audit log is as it was written, from the first event that is kept to the last, while others go on writing. */
export function auditVerifyBiz({
  db,
  cipher,
  events,
  heads,
}: Pick<Ports, 'db' | 'cipher'> & { events: typeof auditEventStore; heads: typeof auditHeadStore }) {
  /** @returns the first event that is not as it was written, where there is one */
  async function verify({ noted, progress = () => {} }: VerifyOptions = {}): Promise<Verdict> {
    const { head, first, last } = await heads(db).ends()
    if (!head) return broken(last, 'headless')
    if (isUnbegun(head) && last === 0) return broken(0, 'unbegun')
    if (!isHeadTrue(cipher, head)) return broken(head.seq, 'head')
    if (last > 0 && first <= head.cutSeq) return broken(first, 'first')
    if (last > head.seq) return broken(head.seq + 1, 'last')
    if (noted && noted.seq > head.seq) return broken(head.seq + 1, 'notedGone')
    const wrong = await walk(head, noted, progress)
    if (wrong) return wrong
    const { seq, hash, cutSeq, begunAt = '' } = head
    const verdict = { isWhole: true, head: { seq, hash }, events: seq - cutSeq, removedUpTo: cutSeq, begunAt } as const
    if (!noted) return verdict
    return { ...verdict, noted: noted.seq < cutSeq ? 'older' : 'matches' }
  }

  async function walk(head: AuditHeadRow, noted: ChainLink | undefined, progress: (done: number, total: number) => void) {
    let at: Partial<Pick<AuditEventRow, 'id'>> & ChainLink = cutOf(head)
    if (isAnother(noted, at)) return broken(at.seq, 'noted')
    while (at.seq < head.seq) {
      const rows = (await events(db).from(at.seq, rowsAtOnce)).filter(({ id }) => id !== at.id)
      for (const row of rows) {
        if (row.seq > head.seq) break
        if (row.seq === at.seq) return broken(row.seq, 'twice')
        if (row.seq !== at.seq + 1) break
        if (hashOf(cipher, at.hash, row) !== row.hash) return broken(row.seq, 'changed')
        if (isAnother(noted, row)) return broken(row.seq, 'noted')
        at = row
      }
      progress(at.seq - head.cutSeq, head.seq - head.cutSeq)
      if (at.seq >= head.seq || rows.some(({ id }) => id === at.id)) continue
      // Others may have removed what is too old, since the walk began.
      const { head: now } = await heads(db).ends()
      if (!now || now.cutSeq <= at.seq) return broken(at.seq + 1, 'missing')
      if (!isHeadTrue(cipher, now)) return broken(now.seq, 'head')
      at = cutOf(now)
    }
    return at.seq === head.seq && at.hash !== head.hash ? broken(head.seq, 'headHash') : undefined
  }

  /** The head at this moment. @throws never for one that was changed: that is for `verify` to say */
  async function head(): Promise<ChainLink> {
    const { head: row } = await heads(db).ends()
    return { seq: row?.seq ?? 0, hash: row?.hash ?? '' }
  }

  return { verify, head }
}

const cutOf = ({ cutSeq, cutHash }: AuditHeadRow): ChainLink => ({ seq: cutSeq, hash: cutHash })
const isAnother = (noted: ChainLink | undefined, { seq, hash }: ChainLink): boolean => noted?.seq === seq && noted.hash !== hash
const broken = (seq: number, problem: keyof typeof problems): Verdict => ({ isWhole: false, seq, problem: problems[problem] })
