import { type ChatPlatforms, chatCodes } from '@/core/chat'
import { type Clock, toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Queue } from '@/core/queue/queue'
import { snooze, type TaskContext, type TaskResult } from '@/core/queue/task'
import type { Subscriber, SubscriptionBiz } from '@/modules/subscription'
import { type AnnouncementRow, deliver, deliveredWithinMs, spreadMax } from './schema'
import type { AnnouncementStore, DeliveryStore } from './store'

/**
 * Sends announcements: a page of subscribed chats, a delivery of each with its task, a page, and so on. The row of the announcement says
 * behind which subscriber to go on, and changes in one transaction with the deliveries and their tasks: whoever goes on after a crash
 * begins there, and no chat has two. Then it looks every few seconds whether all have ended.
 */
export interface Sender {
  /** One round: until all deliveries have ended it puts itself off. */
  send(announcementId: string, attempt: Attempt): Promise<TaskResult | undefined>
}

/** What it needs to know of the task. */
export type Attempt = Pick<TaskContext, 'signal' | 'log' | 'progress'>

interface SenderTools {
  db: Database
  clock: Clock
  queue: Queue
  chat: Pick<ChatPlatforms, 'get'>
  announcements: (db: Database) => AnnouncementStore
  deliveries: (db: Database) => DeliveryStore
  subscriptions: Pick<SubscriptionBiz, 'count' | 'page'>
}

/** How often it is looked whether all deliveries have ended. */
const watchMs = 2000
/** After so long it gives its place back, and goes on when it is its turn again. */
const sliceMs = 20_000
/** After a cancellation what is under way has ended by then. */
const settledMs = 120_000
/** Deliveries that are given up in one statement. */
const givenUpMax = 100
const primary = { from: 'primary' } as const

export function sender({ db, clock, queue, chat, announcements, deliveries, subscriptions }: SenderTools): Sender {
  async function send(id: string, attempt: Attempt): Promise<TaskResult | undefined> {
    const known = await announcements(db).get(id, primary)
    const row = known?.state === 'scheduled' ? await begin(known, attempt) : known
    if (row?.state === 'sending') return (await spread(row, attempt)) ?? watch(id, attempt)
    if (row?.state !== 'cancelled' || row.isCounted) return undefined
    const leftMs = Date.parse(row.endedAt ?? row.updatedAt) + settledMs - clock.nowMs()
    if (row.startedAt !== undefined && leftMs > 0) return snooze(leftMs)
    await close(id, { state: 'cancelled' })
    return undefined
  }

  async function begin({ id, topic }: AnnouncementRow, { log }: Attempt): Promise<AnnouncementRow | undefined> {
    const total = await subscriptions.count(topic)
    const patch = { state: 'sending' as const, startedAt: toTimestamp(clock.nowMs()), total }
    if ((await announcements(db).updateMany({ id, state: 'scheduled' }, patch)) > 0)
      log.info('an announcement begins to be sent', { announcementId: id, topic, chats: total })
    return announcements(db).get(id, primary)
  }

  /** @returns undefined when all chats have their deliveries */
  async function spread(begun: AnnouncementRow, { signal }: Attempt): Promise<TaskResult | undefined> {
    const endMs = clock.nowMs() + sliceMs
    let row: AnnouncementRow | undefined = begun
    while (row?.state === 'sending' && !row.isSpread) {
      signal.throwIfAborted()
      if (clock.nowMs() >= endMs) return snooze(0)
      row = await spreadPage(row)
    }
    // It was cancelled meanwhile: the next round sees to that.
    return row?.state === 'sending' ? undefined : snooze(0)
  }

  /** @returns the row as it is then, also when another attempt or a cancellation came first, and nothing was done */
  async function spreadPage({ id, topic, version, lastSubscriberId: after }: AnnouncementRow): Promise<AnnouncementRow | undefined> {
    const page = await subscriptions.page(topic, { after, limit: spreadMax })
    const last = page.at(-1)
    const far = { ...(last && { lastSubscriberId: last.id }), isSpread: page.length < spreadMax }
    await db.tx(async tx => {
      if ((await announcements(tx).updateMany({ id, version, state: 'sending' }, far)) === 0) return
      const made = await deliveries(tx).createMany(page.map(each => deliveryOf(id, each)))
      const waiting = made.filter(({ state }) => state === 'pending')
      // Platforms take turns, and a slow one keeps none of the others waiting.
      const items = waiting.map(each => ({ payload: { deliveryId: each.id }, id: `delivery:${each.id}`, key: each.platform }))
      if (items.length > 0) await queue.enqueueMany(deliver, items, { tx })
    })
    return announcements(db).get(id, primary)
  }

  /** A platform that is not configured cannot be waited for. */
  const deliveryOf = (announcementId: string, { id: subscriberId, platform }: Subscriber) => ({
    ...{ announcementId, subscriberId, platform, attempts: 0, unanswered: 0 },
    ...(chat.get(platform).state().is === 'off' ? { state: 'failed' as const, error: offCode } : { state: 'pending' as const }),
  })

  /** Ends it when every delivery has ended, or its time is over. */
  async function watch(id: string, { log, progress, signal }: Attempt): Promise<TaskResult | undefined> {
    const row = await announcements(db).get(id, { ...primary, select: ['topic', 'startedAt'] })
    if (!row) return undefined
    const lateMs = Date.parse(row.startedAt ?? '') + deliveredWithinMs
    if (clock.nowMs() > lateMs) await giveUp(id, signal)
    const { pending, ...counts } = await deliveries(db).countsOf(id)
    const done = counts.sent + counts.gone + counts.failed
    progress({ done, total: done + pending })
    if (pending > 0) return snooze(watchMs)
    if (await close(id, { state: 'sent', endedAt: toTimestamp(clock.nowMs()) }))
      log.info('an announcement was sent', { announcementId: id, topic: row.topic, ...counts })
    return undefined
  }

  /** Also of deliveries whose tasks somebody has removed. */
  async function giveUp(id: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      const where = { announcementId: id, state: 'pending' } as const
      const { items } = await deliveries(db).list({ ...primary, where, select: ['id'], pageSize: givenUpMax })
      if (items.length === 0) return
      const which = { id: { in: items.map(each => each.id) }, state: 'pending' } as const
      await deliveries(db).updateMany(which, { state: 'failed', error: lateCode })
    }
  }

  /** Keeps the numbers as they are now. @returns whether it was this call that did */
  async function close(id: string, patch: { state: 'sent'; endedAt: string } | { state: 'cancelled' }): Promise<boolean> {
    const { sent, gone, failed, pending } = await deliveries(db).countsOf(id)
    const row = await announcements(db).get(id, { ...primary, select: ['total', 'isSpread'] })
    const all = sent + gone + failed + pending
    const total = row?.isSpread ? all : Math.max(row?.total ?? 0, all)
    const isOpen = { id, isCounted: false, state: patch.state === 'sent' ? 'sending' : 'cancelled' } as const
    return (await announcements(db).updateMany(isOpen, { ...patch, total, sent, gone, failed, isCounted: true })) > 0
  }

  return { send }
}

/** Why a delivery has failed that no platform was asked about. */
export const offCode = chatCodes.off
export const lateCode = 'Timeout.DeliveryLate'
