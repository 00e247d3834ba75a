import { type ChatPlatforms, chatCodes } from '@/core/chat'
import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Metrics } from '@/core/metrics'
import { snooze, TaskAborted, type TaskContext, type TaskResult } from '@/core/queue/task'
import type { Subscriber, SubscriptionBiz } from '@/modules/subscription'
import { deliver as deliverTask, deliveredWithinMs, type DeliveryRow, unansweredMax } from './schema'
import { lateCode, offCode } from './send.biz'
import type { AnnouncementStore, DeliveryStore } from './store'

/**
 * Brings an announcement to one chat. That it is tried is marked before the platform is asked, and how it ended after it has answered: a
 * process that dies between the two has perhaps sent it, and it is sent again. So a chat gets it once, and twice at most when a process
 * dies with its message under way, or when a platform that shows as often what it is sent does not say whether it took it.
 */
export interface Deliverer {
  deliver(deliveryId: string, attempt: DeliveryAttempt): Promise<TaskResult | undefined>
}

/** What it needs to know of the task. */
export type DeliveryAttempt = Pick<TaskContext, 'failures' | 'signal' | 'log'>

interface DelivererTools {
  db: Database
  clock: Clock
  metrics: Metrics
  chat: Pick<ChatPlatforms, 'get'>
  announcements: (db: Database) => AnnouncementStore
  deliveries: (db: Database) => DeliveryStore
  subscriptions: Pick<SubscriptionBiz, 'subscriber' | 'left'>
}

/** When another attempt is at it, it is looked at again after so long. */
const takenMs = 5000
/** A platform that refuses the token is asked again after so long: somebody may have started a process with another. */
const offMs = 60_000
/** When a platform does not say how long it wants to be left alone. */
const busyMs = 1000
/** How often it is tried to mark how a delivery has ended, and the pause between: what is not marked is sent again. */
const marksMax = 6
const markPauseMs = 250
const codeMax = 100
const messageIdMax = 64
const primary = { from: 'primary' } as const

type Ended = { state: 'sent'; messageId: string } | { state: 'gone' } | { state: 'failed'; error: string; unanswered?: number }

export function deliverer({ db, clock, metrics, chat, announcements, deliveries, subscriptions }: DelivererTools): Deliverer {
  /** Asked for when it is first counted: to wire a module does nothing else. */
  const ends = () =>
    metrics.counter({
      name: 'bingo_announcement_deliveries_total',
      help: 'Announcements that have ended for a chat, by how.',
      labels: ['platform', 'outcome'],
    })

  async function deliver(id: string, attempt: DeliveryAttempt): Promise<TaskResult | undefined> {
    const delivery = await deliveries(db).get(id, primary)
    if (delivery?.state !== 'pending') return undefined
    const announcement = await announcements(db).get(delivery.announcementId, {
      ...primary,
      select: ['topic', 'text', 'state', 'startedAt'],
    })
    if (announcement?.state !== 'sending') return undefined
    const { topic, text, startedAt = '' } = announcement
    if (clock.nowMs() > Date.parse(startedAt) + deliveredWithinMs) return end(delivery, { state: 'failed', error: lateCode })
    const subscriber = await subscriptions.subscriber(topic, delivery.subscriberId)
    if (!subscriber) return end(delivery, { state: 'gone' })
    const { version, attempts } = delivery
    if ((await deliveries(db).updateMany({ id, version, state: 'pending' }, { attempts: attempts + 1 })) === 0) return snooze(takenMs)
    const tried = { ...delivery, version: version + 1 }
    const isStillWanted = async () => {
      const [now, chat] = await Promise.all([
        announcements(db).get(delivery.announcementId, { ...primary, select: ['state'] }),
        subscriptions.subscriber(topic, subscriber.id),
      ])
      return now?.state === 'sending' && chat?.chatId === subscriber.chatId
    }
    let messageId: string
    try {
      messageId = await chat.get(subscriber.platform).send(subscriber.chatId, text, { signal: attempt.signal, key: id, isStillWanted })
    } catch (thrown) {
      return unsent(tried, subscriber, thrown, attempt)
    }
    return end(tried, { state: 'sent', messageId: messageId.slice(0, messageIdMax) })
  }

  /** What becomes of one that the platform has not taken. */
  async function unsent(
    delivery: DeliveryRow,
    subscriber: Subscriber,
    thrown: unknown,
    { failures, signal, log }: DeliveryAttempt,
  ): Promise<TaskResult | undefined> {
    const why = signal.aborted && signal.reason instanceof TaskAborted ? signal.reason.reason : undefined
    if (why !== undefined && why !== 'timeout') throw thrown
    const code = thrown instanceof AppError ? thrown.code : undefined
    if (code === chatCodes.busy) return snooze(waitMsOf(thrown as AppError))
    // The next attempt sees why.
    if (code === chatCodes.notWanted) return snooze(0)
    if (code === chatCodes.gone) {
      // First, since a delivery that has ended is not looked at again.
      await subscriptions.left([subscriber])
      return end(delivery, { state: 'gone' })
    }
    if (code === chatCodes.refused) return end(delivery, { state: 'failed', error: code })
    if (code === offCode && chat.get(delivery.platform).state().is !== 'off') return snooze(offMs)
    if (code === offCode) return end(delivery, { state: 'failed', error: code })
    if (code === chatCodes.perhapsSent || why === 'timeout') return unanswered(delivery, thrown, { failures, log })
    if (failures < deliverTask.defaults.maxRetries) throw thrown
    log.warn('a chat could not be reached, and is given up', { deliveryId: delivery.id, platform: delivery.platform, err: thrown })
    return end(delivery, { state: 'failed', error: (code ?? 'Internal.Unexpected').slice(0, codeMax) })
  }

  /** It may have arrived, so it is not sent as often as what has certainly not. */
  async function unanswered(
    delivery: DeliveryRow,
    thrown: unknown,
    { failures, log }: Pick<DeliveryAttempt, 'failures' | 'log'>,
  ): Promise<undefined> {
    const count = { unanswered: delivery.unanswered + 1 }
    if (count.unanswered < unansweredMax && failures < deliverTask.defaults.maxRetries) {
      await mark(delivery, count)
      throw thrown
    }
    const fields = { deliveryId: delivery.id, platform: delivery.platform, err: thrown }
    log.warn('whether a chat was told is not known, since its platform does not say; it may have been, and is not told again', fields)
    return end(delivery, { state: 'failed', error: chatCodes.perhapsSent, ...count })
  }

  async function end(delivery: DeliveryRow, ended: Ended): Promise<undefined> {
    if (await mark(delivery, ended)) ends().with({ platform: delivery.platform, outcome: ended.state }).add()
  }

  /** Whoever has seen another version by now has tried it after this one, and marks it. @returns whether it was this one that did */
  async function mark({ id, version }: DeliveryRow, patch: Ended | { unanswered: number }): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        return (await deliveries(db).updateMany({ id, version }, patch)) > 0
      } catch (thrown) {
        if (tries >= marksMax) throw thrown
        await Bun.sleep(markPauseMs * tries)
      }
    }
  }

  return { deliver }
}

/** Not a moment before; after a day nobody sends it any more, whatever the platform wants. */
const waitMsOf = ({ retryAfterSeconds }: AppError) =>
  retryAfterSeconds === undefined ? busyMs : Math.max(1, Math.min(deliveredWithinMs + 1, Math.ceil(retryAfterSeconds * 1000)))
