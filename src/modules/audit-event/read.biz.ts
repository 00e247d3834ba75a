import type { Actor, AuditLog } from '@/core/audit'
import type { Download } from '@/core/download'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { Where } from '@/core/store'
import { formats } from './formats'
import { auditErrors, type AuditEvent, type AuditEventPage, type AuditEventRow, type AuditFilter, type FileFormat } from './schema'
import type { auditEventStore, auditHeadStore } from './store'

/** What it writes into the audit log. */
export const readAudits = ['audit-event.export'] as const

export type AuditReadBiz = ReturnType<typeof auditReadBiz>

/** Rows of an export that are in memory at a time: a page of a list. */
const exportedAtOnce = 100

/** Looks into the audit log: a page at a time, newest first, or all of it as a file, oldest first. */
export function auditReadBiz({
  db,
  log,
  events,
  heads,
  audit,
}: Pick<Ports, 'db' | 'log'> & {
  events: typeof auditEventStore
  heads: typeof auditHeadStore
  audit: Pick<AuditLog<(typeof readAudits)[number]>, 'note'>
}) {
  async function list({ pageSize, pageToken, ...filter }: AuditFilter & PageQuery): Promise<AuditEventPage> {
    const page = { ...(pageSize !== undefined && { pageSize }), ...(pageToken !== undefined && { pageToken }) }
    // By time, since every index ends in it, so that a period is found together with what else is said. Clocks of processes differ, so the
    // order may, by as much.
    const { items, nextPageToken } = await events(db).list({ ...page, where: whereOf(filter), orderBy: 'createdAt desc' })
    return { items: items.map(view), nextPageToken }
  }

  /** @throws EventNotFound */
  async function get(id: string): Promise<AuditEvent> {
    const row = await events(db).get(id, { from: 'primary' })
    if (!row) throw auditErrors.EventNotFound()
    return view(row)
  }

  /** What there is when it is asked for, and that somebody has asked, which is written down before anything of it leaves. */
  async function download(format: FileFormat, filter: AuditFilter, by: Actor): Promise<Download> {
    const where = whereOf(filter)
    await audit.note(by, { action: 'audit-event.export', after: { format, ...filter } })
    const { last } = await heads(db).ends()
    const fileName = `audit-events-${new Date(db.clock.nowMs()).toISOString().slice(0, 10)}.${format}`
    return { fileName, mediaType: formats[format].mediaType, pieces: piecesOf(format, where, last) }
  }

  async function* piecesOf(format: FileFormat, where: Where<AuditEventRow>, last: number): AsyncGenerator<Uint8Array> {
    const { head, line } = formats[format]
    const encoder = new TextEncoder()
    if (head) yield encoder.encode(head)
    try {
      const page = { where: { ...where, seq: { lte: last } }, orderBy: 'createdAt', pageSize: exportedAtOnce, from: 'primary' } as const
      for (let pageToken = ''; ; ) {
        const { items, nextPageToken } = await events(db).list({ ...page, pageToken })
        if (items.length > 0) yield encoder.encode(items.map(row => line(view(row))).join(''))
        if (!nextPageToken) return
        pageToken = nextPageToken
      }
    } catch (thrown) {
      log.error('the export of the audit log was cut off', { err: thrown })
      throw thrown
    }
  }

  return { list, get, download }
}

function whereOf({ from, to, ...exact }: AuditFilter): Where<AuditEventRow> {
  if (from !== undefined && to !== undefined && from >= to)
    throw auditErrors.Period({ problems: [{ pointer: 'from', detail: 'must be before to' }] })
  if (from === undefined && to === undefined) return exact
  return { ...exact, createdAt: { ...(from !== undefined && { gte: from }), ...(to !== undefined && { lt: to }) } }
}

function view({ id, seq, createdAt, before, after, hash, updatedAt: _, version: __, ...said }: AuditEventRow): AuditEvent {
  const { actor, actorName, address, requestId, action, object, outcome, reason } = said
  return {
    ...{ seq, id, at: createdAt, ...(actor !== undefined && { actor }), ...(actorName !== undefined && { actorName }), address },
    ...{ ...(requestId !== undefined && { requestId }), action, ...(object !== undefined && { object }), outcome },
    ...{ ...(reason !== undefined && { reason }), ...changed('before', before), ...changed('after', after), hash },
  }
}

/** What somebody has written into the table by hand may be no JSON; it is shown all the same, since it is to be looked at. */
function changed<N extends 'before' | 'after'>(name: N, text: string | undefined): { [K in N]?: unknown } {
  if (text === undefined) return {}
  try {
    return { [name]: JSON.parse(text) } as { [K in N]?: unknown }
  } catch {
    return { [name]: text } as { [K in N]?: unknown }
  }
}
