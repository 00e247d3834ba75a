import { askedBy, type Asking } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Download } from '@/core/download'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { UserBiz } from '@/modules/user'
import { exporter, notEnded } from './exporter'
import { formats } from './formats'
import {
  exportErrors,
  exportUsers,
  keptMax,
  keptMs,
  type NewUserExport,
  removeExport,
  type UserExport,
  type UserExportPage,
  type UserExportRow,
} from './schema'
import type { userExportChunkStore, userExportStore } from './store'

/** What it writes into the audit log. */
export const audits = ['user-export.create', 'user-export.delete', 'user-export.download'] as const

export type UserExportBiz = ReturnType<typeof userExportBiz>

/** What leaves the process of an export. */
const shown = [
  ...(['id', 'format', 'status', 'state', 'taskId', 'rows', 'bytes', 'total', 'error'] as const),
  ...(['createdAt', 'startedAt', 'endedAt', 'expiresAt'] as const),
] as const
type ShownRow = Pick<UserExportRow, (typeof shown)[number]>

/** Exports of all users as a file: asking for one, looking how far it is, fetching and removing it. Tasks make it: see exporter.ts. */
export function userExportBiz({
  db,
  clock,
  log,
  queue,
  users,
  exports,
  chunks,
  audit,
}: Pick<Ports, 'db' | 'clock' | 'log' | 'queue'> & {
  users: Pick<UserBiz, 'listById' | 'count'>
  exports: typeof userExportStore
  chunks: typeof userExportChunkStore
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record' | 'note'>
}) {
  async function request(input: NewUserExport, asking: Asking): Promise<UserExport> {
    const { id } = await create(crypto.randomUUID(), input, asking)
    return get(id)
  }

  /** @param asking undefined when it is the task itself that asks */
  async function create(taskId: string, { format, status }: NewUserExport, asking?: Asking): Promise<UserExportRow> {
    // Two at the same time may make one too many, which costs less than a lock.
    if ((await exports(db).count()) >= keptMax) throw exportErrors.TooManyExports()
    return db.tx(async tx => {
      const said = status === undefined ? { format } : { format, status }
      const row = await exports(tx).create({ ...said, state: 'waiting', taskId, chunks: 0, rows: 0, bytes: 0 })
      if (asking) await queue.enqueue(exportUsers, { exportId: row.id }, { tx, id: taskId })
      await queue.enqueue(removeExport, { exportId: row.id }, { tx, delayMs: keptMs })
      if (asking) await audit.record(tx, askedBy(asking), { ...entryOn('user-export.create', row.id), after: said })
      return row
    })
  }

  /** Whoever has asked for one looks at once, so replicas are not asked. */
  async function get(id: string): Promise<UserExport> {
    return view(found(await exports(db).get(id, { from: 'primary', select: shown })))
  }

  async function list(page: PageQuery): Promise<UserExportPage> {
    const { items, nextPageToken } = await exports(db).list({ ...page, orderBy: 'createdAt desc', select: shown })
    return { items: items.map(view), nextPageToken }
  }

  /** Written down before anything of it leaves. @throws ExportNotDone */
  async function content(id: string, asking: Asking): Promise<Download> {
    const row = found(await exports(db).get(id, { from: 'primary' }))
    if (row.state !== 'done') throw exportErrors.ExportNotDone()
    const after = { format: row.format, rows: row.rows, bytes: row.bytes }
    await audit.note(askedBy(asking), { ...entryOn('user-export.download', id), after })
    const { extension, mediaType } = formats[row.format]
    return { fileName: `users-${row.createdAt.slice(0, 10)}.${extension}`, mediaType, pieces: piecesOf(row) }
  }

  async function* piecesOf({ id, chunks: count }: UserExportRow): AsyncGenerator<Uint8Array> {
    try {
      for (let number = 1; number <= count; number++) {
        const which = { exportId: id, number }
        // A replica may not have it yet.
        const chunk = (await chunks(db).find(which)) ?? (await chunks(db).find(which, { from: 'primary' }))
        yield found(chunk).content
      }
    } catch (thrown) {
      log.error('the download of an export was cut off', { exportId: id, err: thrown })
      throw thrown
    }
  }

  /** One that has not ended is cancelled, and can be looked at until it expires; one that has is removed. */
  async function remove(id: string, asking: Asking): Promise<void> {
    found(await exports(db).get(id, { from: 'primary', select: ['id'] }))
    const record = (tx: Database, after: object) => audit.record(tx, askedBy(asking), { ...entryOn('user-export.delete', id), after })
    const nowMs = clock.nowMs()
    const ended = { endedAt: toTimestamp(nowMs), expiresAt: toTimestamp(nowMs + keptMs) }
    // In one statement, since it may end by itself just now. Whoever makes it finds it changed with the next chunk, and cleans up.
    await db.tx(async tx => {
      if ((await exports(tx).updateMany({ id, ...notEnded }, { state: 'cancelled', ...ended })) > 0)
        return record(tx, { state: 'cancelled' })
      if (!(await exports(tx).delete(id))) return
      await queue.enqueue(removeExport, { exportId: id }, { tx })
      await record(tx, { state: 'removed' })
    })
  }

  return { request, get, list, content, remove, ...exporter({ db, clock, users, exports, chunks, create }) }
}

function found<T>(row: T | undefined): T {
  if (row === undefined) throw exportErrors.ExportNotFound()
  return row
}

function view(row: ShownRow): UserExport {
  const { state, rows, total } = row
  if (state === 'done') return { ...row, progress: 1 }
  if (total === undefined) return row
  // More may have signed up since they were counted.
  return { ...row, progress: total === 0 ? 0 : Math.min(1, rows / total) }
}
