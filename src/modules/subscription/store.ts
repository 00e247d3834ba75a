import type { PlatformName } from '@/core/chat'
import { toTimestamp } from '@/core/clock'
import { rowCodec } from '@/core/column'
import type { Database, SqlRow } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { chats, subscriptions } from './schema'

/** A chat that wants what is sent. */
export interface Subscriber {
  /** Its own here, for as long as it is known; `page` goes by it. */
  id: string
  platform: PlatformName
  /** As the platform calls it. */
  chatId: string
}

export interface ChatStore extends Store<typeof chats> {
  /** Keeps a chat as it is until the end of a transaction. @returns its id; undefined when there is none */
  locked(platform: PlatformName, chatId: string): Promise<string | undefined>
  /** Removes up to so many that have been empty since before then. @returns how many */
  removeEmpty(beforeMs: number, countMax: number): Promise<number>
}

export interface SubscriptionStore extends Store<typeof subscriptions> {
  page(topic: string, options: { after: string | undefined; limit: number }): Promise<Subscriber[]>
  /** One of them; undefined when it is none. */
  subscriber(topic: string, id: string): Promise<Subscriber | undefined>
  /** By topic and platform; without those that are none. */
  counts(topic: string | undefined): Promise<{ topic: string; platform: string; count: number }[]>
}

const primary = { from: 'primary' } as const

export function chatStore(db: Database): ChatStore {
  const codec = rowCodec(chats.columns, db.dialect)
  return {
    ...createStore(db, chats),

    async locked(platform, chatId) {
      const select = `select "id" from "chat" where "platform" = ? and "chatId" = ?${db.dialect.forUpdate}`
      const row = await db.first(select, [platform, chatId], primary)
      return row && String(row['id'])
    },

    async removeEmpty(beforeMs, countMax) {
      const before = codec.encode('emptySince', toTimestamp(beforeMs))
      const found = await db.all(
        `select "id" from "chat" where "emptySince" < ? order by "emptySince" limit ${countMax}`,
        [before],
        primary,
      )
      if (found.length === 0) return 0
      // One that subscribes again meanwhile stays.
      const which = found.map(() => '?').join(', ')
      const ids = found.map(row => String(row['id']))
      return (await db.run(`delete from "chat" where "id" in (${which}) and "emptySince" < ?`, [...ids, before])).changes
    },
  }
}

export const subscriptionStore = (db: Database): SubscriptionStore => ({
  ...createStore(db, subscriptions),

  async page(topic, { after, limit }) {
    const rows = await db.all(
      `select c."id" as "id", c."platform" as "platform", c."chatId" as "chatId" from "subscription" s
        join "chat" c on c."id" = s."subscriberId"
        where s."topic" = ?${after === undefined ? '' : ' and s."subscriberId" > ?'} order by s."subscriberId" limit ${limit}`,
      after === undefined ? [topic] : [topic, after],
      primary,
    )
    return rows.map(subscriberOf)
  },

  async subscriber(topic, id) {
    const sql = `select c."id" as "id", c."platform" as "platform", c."chatId" as "chatId" from "subscription" s
      join "chat" c on c."id" = s."subscriberId" where s."subscriberId" = ? and s."topic" = ?`
    const row = await db.first(sql, [id, topic], primary)
    return row && subscriberOf(row)
  },

  async counts(topic) {
    const rows = await db.all(
      `select "topic", "platform", count(*) as "count" from "subscription"${topic === undefined ? '' : ' where "topic" = ?'}
        group by "topic", "platform"`,
      topic === undefined ? [] : [topic],
    )
    return rows.map(row => ({ topic: String(row['topic']), platform: String(row['platform']), count: Number(row['count']) }))
  },
})

const subscriberOf = (row: SqlRow): Subscriber => ({
  ...{ id: String(row['id']), platform: platformOf(row['platform']), chatId: String(row['chatId']) },
})

/** The column takes nothing else. */
const platformOf = (kept: unknown): PlatformName => (kept === 'discord' ? 'discord' : 'telegram')
