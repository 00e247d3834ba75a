import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { announcements, deliveries, type DeliveryState } from './schema'

export type Counts = Readonly<Record<DeliveryState, number>>

export const announcementStore = (db: Database) => ({
  ...createStore(db, announcements),
  /** The oldest that ended before and has deliveries all the same. */
  async withOldDeliveries(endedBefore: string): Promise<string | undefined> {
    const where = { endedAt: { lt: endedBefore } }
    for await (const { id } of createStore(db, announcements).iterate({ where, select: ['id'], from: 'primary' }))
      if (await deliveryStore(db).exists({ announcementId: id }, { from: 'primary' })) return id
    return undefined
  },
})
export type AnnouncementStore = ReturnType<typeof announcementStore>

export const deliveryStore = (db: Database): DeliveryStore => ({
  ...createStore(db, deliveries),
  async countsOf(announcementId) {
    const sql = `select "state", count(*) as "count" from "delivery" where "announcementId" = ? group by "state"`
    const counts = { pending: 0, sent: 0, gone: 0, failed: 0 }
    for (const { state, count } of await db.all(sql, [announcementId], { from: 'primary' })) counts[state as DeliveryState] = Number(count)
    return counts
  },
})
export interface DeliveryStore extends Store<typeof deliveries> {
  /** How many deliveries of an announcement there are in each state, from an index alone: some milliseconds of 10,000. */
  countsOf(announcementId: string): Promise<Counts>
}
