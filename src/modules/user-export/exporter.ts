import { type Clock, toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import { snooze, TaskAborted, type TaskContext, type TaskResult } from '@/core/queue/task'
import type { Store } from '@/core/store'
import { formats } from './formats'
import {
  chunkRowsMax,
  type ExportedUser,
  exportErrors,
  type ExportUsers,
  exportUsers,
  keptMs,
  type NewUserExport,
  type UserExportRow,
  type UserExportTable,
  type userExportChunks,
} from './schema'

/**
 * Makes exports: a page of users, a chunk, a page, a chunk. The row of the export says behind which user to go on, and changes in one
 * transaction with the chunk, so a chunk is there exactly when the row says so. Whoever writes names the version of the row that it has
 * seen: of two attempts at one export, the one that has taken it over last writes, and the other cannot any more.
 */
export interface Exporter {
  /** One attempt, or a slice of it. */
  make(payload: ExportUsers, attempt: Attempt): Promise<TaskResult | undefined>
  /** Removes what has expired, and puts itself off while that has not; also what is left of an export that was removed. */
  expire(exportId: string): Promise<TaskResult | undefined>
  /**
   * Removes what nobody else will, since the task that was to remove it is gone: exports that should have been an hour ago, and chunks of
   * those that are gone. @returns how many exports it was, at most `countMax`, 1–100; when it is as many there may be more
   */
  removeLeft(countMax: number): Promise<number>
}

/** What it needs to know of the task. */
export type Attempt = Pick<TaskContext, 'id' | 'failures' | 'signal' | 'progress'>

export interface ExporterTools {
  db: Database
  clock: Clock
  users: Users
  exports: (db: Database) => Store<UserExportTable>
  chunks: (db: Database) => Chunks
  create(taskId: string, input: NewUserExport): Promise<UserExportRow>
}

interface Chunks extends Store<typeof userExportChunks> {
  /** Ids of exports that are gone, and have chunks all the same. */
  orphaned(countMax: number): Promise<string[]>
}
interface Users {
  listById(options: { after?: string; status?: Status; limit: number }): Promise<ExportedUser[]>
  count(options: { status?: Status }): Promise<number>
}
type Status = NonNullable<UserExportRow['status']>

/** After so long an attempt gives its place back, and goes on when it is its turn again: a large export keeps no small one waiting. */
const sliceMs = 60_000
/** The task that removes an export may be so late. */
const lateMs = 3_600_000
/** Chunks that are removed in one transaction. */
const removedMax = 20
/** Which exports wait or run. */
export const notEnded = { endedAt: { isNull: true } } as const
const primary = { from: 'primary' } as const

export function exporter({ db, clock, users, exports, chunks, create }: ExporterTools): Exporter {
  async function make(payload: ExportUsers, { id: taskId, failures, signal, progress }: Attempt): Promise<TaskResult | undefined> {
    const known = await exportOf(taskId, payload)
    if (known?.state === 'cancelled') await removeChunks(known.id)
    if (!known || known.state === 'cancelled' || known.state === 'done') return undefined
    try {
      const endMs = clock.nowMs() + sliceMs
      let row = await takeOver(known)
      while (row?.state === 'running') {
        signal.throwIfAborted()
        if (clock.nowMs() >= endMs) return snooze(0)
        row = await writeChunk(row)
        progress({ done: row.rows, ...(row.total !== undefined && { total: row.total }) })
      }
      return undefined
    } catch (thrown) {
      const why = abortedFor(signal)
      const isCalledOff = await ifPossible(async () => {
        if (why === 'cancelled') await end(known.id, { state: 'cancelled' })
        if (!(await wasCalledOff(known.id))) return false
        await removeChunks(known.id)
        return true
      })
      // A task that was cancelled is counted as such; one whose export was, is done.
      if (isCalledOff && !signal.aborted) return undefined
      const isFailure = why !== 'cancelled' && why !== 'shutdown' && why !== 'leaseLost'
      if (isFailure && failures >= exportUsers.defaults.maxRetries)
        await ifPossible(() => end(known.id, { state: 'failed', error: reasonOf(thrown) }))
      throw thrown
    }
  }

  /** That which was asked for, or the one that this task makes of its own. */
  async function exportOf(taskId: string, { exportId, format = 'csv', status }: ExportUsers): Promise<UserExportRow | undefined> {
    if (exportId !== undefined) return exports(db).get(exportId, primary)
    const own = await exports(db).find({ taskId }, primary)
    return own ?? create(taskId, status === undefined ? { format } : { format, status })
  }

  /**
   * From here on, an attempt before this one writes nothing any more. That this is a write has another use: what is read from replicas
   * afterwards is no older, so users who were there before are found.
   */
  async function takeOver(row: UserExportRow): Promise<UserExportRow | undefined> {
    const total = row.total ?? (await countOf(row))
    const startedAt = row.startedAt ?? toTimestamp(clock.nowMs())
    const patch = { state: 'running' as const, startedAt, error: null, endedAt: null, expiresAt: null }
    return exports(db).update(row.id, total === undefined ? patch : { ...patch, total }, { versions: [row.version] })
  }

  /** For show only, so an export does without when it takes too long. */
  async function countOf({ status }: UserExportRow): Promise<number | undefined> {
    return users.count(status === undefined ? {} : { status }).catch(() => undefined)
  }

  /** @throws VersionMismatch when another attempt has it by now, or it was cancelled; nothing is written then */
  async function writeChunk(row: UserExportRow): Promise<UserExportRow> {
    const { id, format, status, lastUserId, version } = row
    const after = lastUserId === undefined ? {} : { after: lastUserId }
    const page = await users.listById({ ...after, ...(status !== undefined && { status }), limit: chunkRowsMax })
    const { head, line } = formats[format]
    const content = new TextEncoder().encode((row.chunks === 0 ? head : '') + page.map(line).join(''))
    const isEmpty = content.length === 0
    const last = page.at(-1)?.['id']
    const far = {
      chunks: row.chunks + (isEmpty ? 0 : 1),
      rows: row.rows + page.length,
      bytes: row.bytes + content.length,
      ...(typeof last === 'string' && { lastUserId: last }),
    }
    const patch = page.length < chunkRowsMax ? { ...far, state: 'done' as const, ...ending() } : far
    return db.tx(async tx => {
      const written = await exports(tx).update(id, patch, { versions: [version] })
      if (!written) throw exportErrors.ExportNotFound()
      if (!isEmpty) await chunks(tx).create({ exportId: id, number: far.chunks, rows: page.length, content })
      return written
    })
  }

  async function wasCalledOff(id: string): Promise<boolean> {
    const row = await exports(db).get(id, primary)
    return row === undefined || row.state === 'cancelled'
  }

  async function end(id: string, patch: { state: 'cancelled' | 'failed'; error?: string }): Promise<void> {
    await exports(db).updateMany({ id, ...notEnded }, { ...patch, ...ending() })
  }

  const ending = () => {
    const nowMs = clock.nowMs()
    return { endedAt: toTimestamp(nowMs), expiresAt: toTimestamp(nowMs + keptMs) }
  }

  async function expire(exportId: string): Promise<TaskResult | undefined> {
    const row = await exports(db).get(exportId, primary)
    if (row) {
      // One that nobody has touched for so long has lost its task.
      const expiresMs = row.expiresAt === undefined ? Date.parse(row.updatedAt) + keptMs : Date.parse(row.expiresAt)
      const leftMs = expiresMs - clock.nowMs()
      if (leftMs > 0) return snooze(leftMs)
      await exports(db).delete(exportId, { versions: [row.version] })
    }
    await removeChunks(exportId)
    return undefined
  }

  async function removeLeft(countMax: number): Promise<number> {
    const nowMs = clock.nowMs()
    const untouched = { expiresAt: { isNull: true }, updatedAt: { lt: toTimestamp(nowMs - keptMs - lateMs) } } as const
    const where = { or: [{ expiresAt: { lt: toTimestamp(nowMs - lateMs) } }, untouched] }
    const { items } = await exports(db).list({ ...primary, where, select: ['id'], pageSize: countMax })
    for (const { id } of items) await expire(id)
    const orphans = items.length < countMax ? await chunks(db).orphaned(countMax - items.length) : []
    for (const id of orphans) await removeChunks(id)
    return items.length + orphans.length
  }

  /** A few at a time: a large export in one transaction would hold the database for long. */
  async function removeChunks(exportId: string): Promise<void> {
    for (;;) {
      const { items } = await chunks(db).list({ ...primary, where: { exportId }, select: ['id'], pageSize: removedMax })
      if (items.length === 0) return
      await chunks(db).deleteMany({ id: { in: items.map(({ id }) => id) } })
    }
  }

  return { make, expire, removeLeft }
}

/** After something has failed: what fails on top of it, with the database away perhaps, must not hide what was first. */
const ifPossible = <T>(work: () => Promise<T>): Promise<T | undefined> => work().catch(() => undefined)

const abortedFor = ({ reason }: AbortSignal) => (reason instanceof TaskAborted ? reason.reason : undefined)

/** What is not ours may say more than whoever looks at an export should read. */
const reasonOf = (thrown: unknown) => (thrown instanceof AppError ? thrown.message : 'Something went wrong on our side; the log says what.')
