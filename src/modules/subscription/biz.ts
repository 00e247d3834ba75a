import type { ChatGone, ChatMoved, PlatformName } from '@/core/chat'
import { dayMs, toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Ports } from '@/core/ports'
import type { Topic } from '@/core/topic'
import { subscriptionErrors, type TopicCounts } from './schema'
import type { chatStore, Subscriber, subscriptionStore } from './store'

export type SubscriptionBiz = ReturnType<typeof subscriptionBiz>

/** A chat as its platform calls it. */
export interface ChatOf {
  readonly platform: PlatformName
  readonly id: string
  readonly isPrivate: boolean
}

/** A chat that has subscribed to nothing for so long is forgotten; until then it is known again when it comes back. */
const emptyKeptMs = 30 * dayMs
/** Most subscribers of one page. */
const subscribersMax = 1000
const primary = { from: 'primary' } as const

/** Which chats want to be told of what. All of it may be done twice, and is then as if it were done once. */
export function subscriptionBiz({
  db,
  clock,
  log,
  topics,
  chats,
  subscriptions,
}: Pick<Ports, 'db' | 'clock' | 'log' | 'topics'> & { chats: typeof chatStore; subscriptions: typeof subscriptionStore }) {
  /** @throws TopicUnknown */
  function known(name: string): Topic {
    const topic = topics.find(each => each.name === name)
    if (!topic) throw subscriptionErrors.TopicUnknown()
    return topic
  }

  /** The topics that there are, and which of them a chat subscribes to. */
  async function list({ platform, id }: Pick<ChatOf, 'platform' | 'id'>): Promise<(Topic & { isSubscribed: boolean })[]> {
    const chat = await chats(db).find({ platform, chatId: id }, primary)
    const own = new Set<string>()
    if (chat)
      for await (const { topic } of subscriptions(db).iterate({ where: { subscriberId: chat.id }, select: ['topic'], ...primary }))
        own.add(topic)
    return topics.map(topic => ({ ...topic, isSubscribed: own.has(topic.name) }))
  }

  /** @returns whether it has not before. @throws TopicUnknown */
  async function subscribe({ platform, id, isPrivate }: ChatOf, name: string): Promise<boolean> {
    const topic = known(name).name
    return db.tx(async tx => {
      const kept = await chats(tx).upsert({ platform, chatId: id, isPrivate }, ['platform', 'chatId'])
      const subscriberId = kept.row.id
      await chats(tx).update(subscriberId, { emptySince: null })
      return (await subscriptions(tx).upsert({ subscriberId, topic, platform }, ['subscriberId', 'topic'])).created
    })
  }

  /**
   * @param topic all of them when absent, also those that no module declares any more
   * @returns how many it has subscribed to until now
   */
  const unsubscribe = ({ platform, id }: Pick<ChatOf, 'platform' | 'id'>, topic?: string): Promise<number> =>
    db.tx(tx => end(tx, platform, id, topic))

  /** For those that do not want the bot any more, or are not there any more. @param within a transaction, for what belongs to it */
  async function left(gone: readonly ChatGone[], within: Database = db): Promise<void> {
    for (const { platform, chatId } of gone) {
      const ended = await within.tx(tx => end(tx, platform, chatId))
      if (ended > 0) log.info('a chat does not want the bot any more, so its subscriptions have ended', { platform, ended })
    }
  }

  async function end(tx: Database, platform: PlatformName, chatId: string, topic?: string): Promise<number> {
    const subscriberId = await chats(tx).locked(platform, chatId)
    if (subscriberId === undefined) return 0
    const ended = await subscriptions(tx).deleteMany({ subscriberId, ...(topic !== undefined && { topic }) })
    if (ended > 0 && !(await subscriptions(tx).exists({ subscriberId }, primary)))
      await chats(tx).update(subscriberId, { emptySince: toTimestamp(clock.nowMs()) })
    return ended
  }

  /** What a chat wants goes with it. */
  async function moved(chatsMoved: readonly ChatMoved[], within: Database = db): Promise<void> {
    for (const { platform, from, to } of chatsMoved)
      await within.tx(async tx => {
        const subscriberId = await chats(tx).locked(platform, from)
        if (subscriberId === undefined) return
        if ((await chats(tx).locked(platform, to)) === undefined) await chats(tx).update(subscriberId, { chatId: to })
        // Somebody has subscribed there already: then that is what it wants.
        else await end(tx, platform, from)
      })
  }

  /** How many chats subscribe to a topic, give or take those that do so just now. */
  const count = async (topic: string): Promise<number> => subscriptions(db).count({ topic })

  /**
   * Who subscribes to a topic, a page at a time, by `id`, which is about by how long they are known.
   * @param options at most `limit`, 1–1,000, behind the id `after`
   */
  const page = (topic: string, { after, limit }: { after?: string | undefined; limit: number }): Promise<Subscriber[]> =>
    subscriptions(db).page(topic, { after, limit: Math.min(limit, subscribersMax) })

  /** How a subscriber of a topic is called by now; undefined when it does not subscribe to it any more. @param id as `page` says it */
  const subscriber = (topic: string, id: string): Promise<Subscriber | undefined> => subscriptions(db).subscriber(topic, id)

  /** @param name of one topic; of all when absent. @throws TopicUnknown */
  async function counts(name?: string): Promise<TopicCounts> {
    const wanted = name === undefined ? topics : [known(name)]
    const found = await subscriptions(db).counts(name)
    const items = wanted.map(({ name: topic, summary }) => {
      const of = (platform: PlatformName) => found.find(each => each.topic === topic && each.platform === platform)?.count ?? 0
      const [telegram, discord] = [of('telegram'), of('discord')]
      return { topic, summary, total: telegram + discord, telegram, discord }
    })
    return { items }
  }

  /** Removes up to so many chats that have wanted nothing for a month, 1–100. @returns how many */
  const removeEmpty = (countMax: number): Promise<number> => chats(db).removeEmpty(clock.nowMs() - emptyKeptMs, countMax)

  return { known, list, subscribe, unsubscribe, left, moved, count, page, subscriber, counts, removeEmpty }
}
