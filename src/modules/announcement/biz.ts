import type { AuditLog } from '@/core/audit'
import { entryOn } from '@/core/audit'
import { askedBy, type Asking } from '@/core/asking'
import { toTimestamp } from '@/core/clock'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { SubscriptionBiz } from '@/modules/subscription'
import {
  aheadMaxMs,
  type Announcement,
  announcementErrors,
  type AnnouncementPage,
  type AnnouncementRow,
  announcementsKeptMs,
  deliveriesKeptMs,
  type NewAnnouncement,
  openMax,
  type Progress,
  sendAnnouncement,
} from './schema'
import { type Deliverer, deliverer } from './deliver.biz'
import { type Sender, sender } from './send.biz'
import type { announcementStore, Counts, deliveryStore } from './store'

/** What it writes into the audit log. */
export const audits = ['announcement.create', 'announcement.cancel'] as const

export type AnnouncementBiz = ReturnType<typeof announcementBiz>

/** What administrators see of one, and what its numbers are from. */
const shown = [
  ...(['id', 'topic', 'text', 'state', 'at', 'startedAt', 'endedAt', 'createdAt'] as const),
  ...(['isSpread', 'isCounted', 'total', 'sent', 'gone', 'failed'] as const),
] as const
type ShownRow = Pick<AnnouncementRow, (typeof shown)[number]>

const primary = { from: 'primary' } as const
/** Which are scheduled or sent just now. */
const isOpen = { endedAt: { isNull: true } } as const

/** Announcements: making one, looking how far it is, and calling it off. Tasks send it: see send.biz.ts, and deliver.biz.ts for each chat. */
export function announcementBiz({
  db,
  clock,
  metrics,
  queue,
  chat,
  topics,
  announcements,
  deliveries,
  subscriptions,
  audit,
}: Pick<Ports, 'db' | 'clock' | 'metrics' | 'queue' | 'chat' | 'topics'> & {
  announcements: typeof announcementStore
  deliveries: typeof deliveryStore
  subscriptions: Pick<SubscriptionBiz, 'count' | 'page' | 'subscriber' | 'left'>
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record'>
}): Deliverer & Sender & AnnouncementAdmin {
  async function announce({ topic, text, at }: NewAnnouncement, asking: Asking): Promise<Announcement> {
    const nowMs = clock.nowMs()
    const atMs = Math.max(nowMs, at === undefined ? nowMs : Date.parse(at))
    refuseUnknown(topic)
    if (atMs - nowMs > aheadMaxMs)
      throw announcementErrors.AtTooLate({ problems: [{ pointer: '/at', detail: 'is more than a year ahead' }] })
    // Two at the same time may make one too many, which costs less than a lock.
    if ((await announcements(db).count(isOpen, primary)) >= openMax) throw announcementErrors.TooManyAnnouncements()
    return db.tx(async tx => {
      const said = { topic, text, at: toTimestamp(atMs) }
      const row = await announcements(tx).create({ ...said, state: 'scheduled', isSpread: false, isCounted: false, ...nobody })
      const when = atMs > nowMs ? { at: said.at } : {}
      await queue.enqueue(sendAnnouncement, { announcementId: row.id }, { tx, id: `announcement:${row.id}`, ...when })
      await audit.record(tx, askedBy(asking), { ...entryOn('announcement.create', row.id), after: said })
      return view(row, undefined)
    })
  }

  function refuseUnknown(topic: string): void {
    if (topics.some(({ name }) => name === topic)) return
    const known = topics.map(({ name }) => name).join(', ')
    throw announcementErrors.UnknownTopic({ problems: [{ pointer: '/topic', detail: `must be one of ${known}` }] })
  }

  /** Whoever has made one looks at once, so replicas are not asked. */
  async function get(id: string): Promise<Announcement> {
    return counted(found(await announcements(db).get(id, { ...primary, select: shown })))
  }

  async function list(page: PageQuery): Promise<AnnouncementPage> {
    const { items, nextPageToken } = await announcements(db).list({ ...page, orderBy: 'createdAt desc', select: shown })
    return { items: await Promise.all(items.map(counted)), nextPageToken }
  }

  /** Of those that are not sent any more the numbers are in the row; there are few others. */
  async function counted(row: ShownRow): Promise<Announcement> {
    const isBegun = row.startedAt !== undefined
    return view(row, isBegun && !row.isCounted ? await deliveries(db).countsOf(row.id) : undefined)
  }

  /** One that is cancelled already stays so. @throws AnnouncementEnded */
  async function cancel(id: string, asking: Asking): Promise<Announcement> {
    const endedAt = toTimestamp(clock.nowMs())
    await db.tx(async tx => {
      if ((await announcements(tx).updateMany({ id, ...isOpen }, { state: 'cancelled', endedAt })) > 0)
        return audit.record(tx, askedBy(asking), entryOn('announcement.cancel', id))
      if (found(await announcements(tx).get(id, { select: ['state'] })).state === 'sent') throw announcementErrors.AnnouncementEnded()
    })
    return get(id)
  }

  async function removeOld(countMax: number): Promise<number> {
    const nowMs = clock.nowMs()
    let removed = 0
    while (removed < countMax) {
      const id = await announcements(db).withOldDeliveries(toTimestamp(nowMs - deliveriesKeptMs))
      if (id === undefined) break
      await settle(id)
      const some = await deliveries(db).list({ ...primary, where: { announcementId: id }, select: ['id'], pageSize: countMax - removed })
      removed += await deliveries(db).deleteMany({ id: { in: some.items.map(each => each.id) } })
    }
    if (removed >= countMax) return removed
    const isOld = { endedAt: { lt: toTimestamp(nowMs - announcementsKeptMs) } }
    const { items } = await announcements(db).list({ ...primary, where: isOld, select: ['id'], pageSize: countMax - removed })
    return items.length === 0 ? removed : removed + (await announcements(db).deleteMany({ id: { in: items.map(each => each.id) } }))
  }

  /** Keeps its numbers, before what they are counted from goes. */
  async function settle(id: string): Promise<void> {
    const row = await announcements(db).get(id, { ...primary, select: ['isCounted'] })
    if (row?.isCounted !== false) return
    const { sent, gone, failed } = await deliveries(db).countsOf(id)
    await announcements(db).updateMany({ id }, { sent, gone, failed, isCounted: true })
  }

  const tools = { db, clock, queue, chat, announcements, deliveries, subscriptions }
  return { announce, get, list, cancel, removeOld, ...sender(tools), ...deliverer({ ...tools, metrics }) }
}

/** What administrators do, and housekeeping. */
export interface AnnouncementAdmin {
  /** @throws UnknownTopic, AtTooLate, TooManyAnnouncements */
  announce(input: NewAnnouncement, asking: Asking): Promise<Announcement>
  get(id: string): Promise<Announcement>
  list(page: PageQuery): Promise<AnnouncementPage>
  cancel(id: string, asking: Asking): Promise<Announcement>
  /**
   * Removes deliveries of announcements that ended a week ago, and announcements that ended a year ago. @returns how many, at most
   * `countMax`, 1–100; when it is as many there may be more
   */
  removeOld(countMax: number): Promise<number>
}

const nobody = { total: 0, sent: 0, gone: 0, failed: 0 }

function found<T>(row: T | undefined): T {
  if (row === undefined) throw announcementErrors.AnnouncementNotFound()
  return row
}

function view({ isSpread, isCounted, total, sent, gone, failed, ...row }: ShownRow, counts: Counts | undefined): Announcement {
  const ended = counts ?? { sent, gone, failed, pending: 0 }
  const known = ended.sent + ended.gone + ended.failed
  // Until all chats have their deliveries, those that come last are known by their number alone.
  const all = counts && isSpread ? known + ended.pending : Math.max(total, known + ended.pending)
  const left = all - known
  const progress: Progress = {
    ...{ total: all, sent: ended.sent, gone: ended.gone, failed: ended.failed },
    ...(row.state === 'cancelled' ? { pending: 0, cancelled: left } : { pending: left, cancelled: 0 }),
  }
  return { ...only(row), progress }
}

/** The columns of a row that was just made are more than are shown. */
const only = ({ id, topic, text, state, at, startedAt, endedAt, createdAt }: Omit<Announcement, 'progress'>) => ({
  ...{ id, topic, text, state, at, createdAt },
  ...(startedAt !== undefined && { startedAt }),
  ...(endedAt !== undefined && { endedAt }),
})
