import { toTimestamp } from '@/core/clock'
import { rowCodec, selectOf } from '@/core/column'
import type { Database, SqlRow } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { type AuditEventRow, auditEvents, type AuditHeadRow, auditHeads, headId } from './schema'

type Kept = 'list' | 'get' | 'find'

/** Reads and adds; of the other verbs of a store there is none, since nothing of it changes. */
export interface AuditEventStore extends Pick<Store<typeof auditEvents>, Kept> {
  /** As it is, with its hash. */
  append(row: AuditEventRow): Promise<void>
  /** Events from one on, in their order. */
  from(seq: number, countMax: number): Promise<AuditEventRow[]>
  /** Removes the first events, up to this one. @returns how many */
  cut(upTo: number): Promise<number>
}

export interface AuditHeadStore {
  /** Kept from all others until the end of the transaction; undefined when somebody has removed it. */
  hold(): Promise<AuditHeadRow | undefined>
  set(values: Partial<Pick<AuditHeadRow, 'seq' | 'hash' | 'digest' | 'cutSeq' | 'cutHash' | 'begunAt'>>): Promise<void>
  /** The head, and the first and last event that there are, all at one moment. */
  ends(): Promise<{ head: AuditHeadRow | undefined; first: number; last: number }>
}

const primary = { from: 'primary' } as const

export function auditEventStore(db: Database): AuditEventStore {
  const { list, get, find } = createStore(db, auditEvents)
  const codec = rowCodec(auditEvents.columns, db.dialect)
  const names = auditEvents.columns.map(({ name }) => `"${name}"`)
  const selected = auditEvents.columns.map(column => selectOf(column, db.dialect)).join(', ')
  return {
    list,
    get,
    find,
    async append(row) {
      const sql = `insert into "auditEvent" (${names.join(', ')}) values (${names.map(() => '?').join(', ')})`
      await db.run(sql, codec.encodeRow(row))
    },
    async from(seq, countMax) {
      const sql = `select ${selected} from "auditEvent" where "seq" >= ? order by "seq", "id" limit ${countMax}`
      return (await db.all(sql, [seq], primary)).map(row => codec.decodeRow(row) as AuditEventRow)
    },
    cut: async upTo => (await db.run('delete from "auditEvent" where "seq" <= ?', [upTo])).changes,
  }
}

export function auditHeadStore(db: Database): AuditHeadStore {
  const codec = rowCodec(auditHeads.columns, db.dialect)
  const selected = auditHeads.columns.map(column => selectOf(column, db.dialect)).join(', ')
  const decoded = (row: SqlRow | undefined) => row && (codec.decodeRow(row) as AuditHeadRow)
  return {
    async hold() {
      if (!db.inTransaction) throw new Error('what is written down is written in the transaction that does it; use its tx')
      return decoded(await db.first(`select ${selected} from "auditHead" where "id" = ?${db.dialect.forUpdate}`, [headId], primary))
    },
    async set(values) {
      const changes = Object.entries({ ...values, updatedAt: toTimestamp(db.clock.nowMs()) })
      const assignments = changes.map(([name]) => `"${name}" = ?`).join(', ')
      await db.run(`update "auditHead" set ${assignments}, "version" = "version" + 1 where "id" = ?`, [
        ...changes.map(([name, value]) => codec.encode(name, value)),
        headId,
      ])
    },
    async ends() {
      const row = await db.first(
        `select ${selected}, "first", "last" from (select min("seq") as "first", max("seq") as "last" from "auditEvent") as "ends"
          left join "auditHead" on "id" = ?`,
        [headId],
        primary,
      )
      const { first, last, ...head } = row ?? {}
      return { head: head['id'] ? decoded(head) : undefined, first: Number(first ?? 0), last: Number(last ?? 0) }
    },
  }
}
