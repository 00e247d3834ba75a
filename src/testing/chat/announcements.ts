import type { Asking } from '@/core/asking'
import { type ChatPlatform, chatErrors, type PlatformName, type PlatformState, type SendOptions } from '@/core/chat'
import type { Database } from '@/core/database'
import { announcementBiz } from '@/modules/announcement/biz'
import { announcementStore, deliveryStore } from '@/modules/announcement/store'
import { subscriptionBiz } from '@/modules/subscription/biz'
import { chatStore, subscriptionStore } from '@/modules/subscription/store'
import type { Backing } from '../backings'
import { countingMetrics, fakeAudit, fakeLog, fakeQueue } from '../fakes'
import { adminCalled } from '../identities'
import { useMigrated } from '../migrated'

/** Announcements on a database of their own, which is empty before each test. */
export function useAnnouncements(open: () => Promise<Backing>) {
  const used = useMigrated(open, ['announcement', 'delivery', 'subscription', 'chat'])
  return { used, setUp: (db: Database = used.db) => setUp(db) }
}

export const byRoot: Asking = { identity: adminCalled('root'), address: '192.0.2.1' }
export const startMs = Date.parse('2026-01-31T09:05:00.000Z')

function setUp(db: Database) {
  const clock = { ms: startMs, nowMs: () => clock.ms }
  const [queue, log, audit, metrics] = [fakeQueue(), fakeLog(), fakeAudit(), countingMetrics()]
  const platforms = { telegram: fakePlatform('telegram'), discord: fakePlatform('discord') }
  const topics = [{ name: 'news', summary: 'What is new' }]
  const subscriptions = subscriptionBiz({ db, clock, log: fakeLog(), topics, chats: chatStore, subscriptions: subscriptionStore })
  const chat = { all: [], get: (name: PlatformName) => platforms[name] as unknown as ChatPlatform }
  const biz = announcementBiz({
    ...{ db, clock, metrics, queue, chat, topics, audit },
    ...{ announcements: announcementStore, deliveries: deliveryStore, subscriptions },
  })
  const attempt = (over: Partial<Attempt> = {}): Attempt => ({
    ...{ failures: 0, signal: new AbortController().signal, log, progress: () => {} },
    ...over,
  })
  return {
    ...{ biz, clock, queue, log, audit, metrics, platforms, subscriptions, attempt },
    addChats: (count: number, platform?: PlatformName) => addChats(db, count, platform),
    /** The ids of the deliveries that were enqueued, in their order. */
    enqueued: () =>
      queue.enqueued
        .filter(({ task }) => task === 'announcement.deliver')
        .map(({ payload }) => (payload as { deliveryId: string }).deliveryId),
    /** Announces something now, and gives each chat its delivery. */
    async begin() {
      const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
      await biz.send(id, attempt())
      return id
    },
  }
}
type Attempt = Parameters<ReturnType<typeof announcementBiz>['deliver']>[1] & Parameters<ReturnType<typeof announcementBiz>['send']>[1]

/** Keeps what it is sent, or does instead what a test says. */
function fakePlatform(name: PlatformName) {
  const fake = {
    name,
    sent: [] as { chatId: string; text: string }[],
    is: { is: 'ready' } as PlatformState,
    state: () => fake.is,
    /** While a message waits for its turn. */
    before: async (_chatId: string): Promise<void> => {},
    /** While a message that is still wanted is on its way. */
    whileSent: async (_chatId: string): Promise<void> => {},
    /** By which a platform that can shows a message once, of each time that it was asked. */
    keys: [] as (string | undefined)[],
    async send(chatId: string, text: string, { key, isStillWanted }: SendOptions): Promise<string> {
      fake.keys.push(key)
      if (fake.is.is === 'off') throw chatErrors.PlatformOff()
      await fake.before(chatId)
      if (isStillWanted && !(await isStillWanted())) throw chatErrors.NotWanted()
      await fake.whileSent(chatId)
      fake.sent.push({ chatId, text })
      return `message-${fake.sent.length}`
    },
  }
  return fake
}

/** Chats that want news: 1, 2 and so on behind those that are there. */
export async function addChats(db: Database, count: number, platform: PlatformName = 'telegram', topic = 'news'): Promise<void> {
  const first = (await chatStore(db).count()) + 1
  for (let i = 0; i < count; i += 1000) {
    const ids = Array.from({ length: Math.min(1000, count - i) }, (_, j) => `${first + i + j}`)
    const rows = await chatStore(db).createMany(ids.map(chatId => ({ platform, chatId, isPrivate: true })))
    await subscriptionStore(db).createMany(rows.map(({ id }) => ({ subscriberId: id, topic, platform })))
  }
}
