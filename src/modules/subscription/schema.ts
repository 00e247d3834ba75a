import { platformNames } from '@/core/chat'
import { defineErrors } from '@/core/error'
import { Id, type Of, OneOf, Timestamp, Type } from '@/core/schema'
import { defineTable } from '@/core/table'
import { topicNameMax } from '@/core/topic'

export const subscriptionErrors = defineErrors({
  TopicUnknown: ['NotFound', 'There is no such topic. Send /subscribe to see those that there are.'],
  ChatTaken: ['Aborted', 'This chat was noted at the same time. Try again.'],
  SubscriptionTaken: ['Aborted', 'This was subscribed to at the same time. Try again.'],
})

const Platform = OneOf(platformNames, { description: 'The platform that the chat is on.' })

/** Chats that subscribe to something, or did: one keeps its id when it comes back, so that nothing is sent to it twice. */
export const chats = defineTable(
  'chat',
  {
    platform: Platform,
    chatId: Type.String({ minLength: 1, maxLength: 64, description: 'As the platform calls it.' }),
    isPrivate: Type.Boolean({ description: 'Whether only one person reads it.' }),
    emptySince: Type.Optional(Timestamp('Since when it subscribes to nothing; absent while it does.')),
  },
  { unique: [{ columns: ['platform', 'chatId'], taken: () => subscriptionErrors.ChatTaken() }], indexes: [['emptySince']] },
)

export const subscriptions = defineTable(
  'subscription',
  {
    subscriberId: Id('The chat, by its id here.'),
    topic: Type.String({ minLength: 1, maxLength: topicNameMax, description: 'Name of the topic.' }),
    platform: Platform,
  },
  {
    unique: [{ columns: ['subscriberId', 'topic'], taken: () => subscriptionErrors.SubscriptionTaken() }],
    indexes: [
      ['topic', 'subscriberId'],
      ['topic', 'platform'],
    ],
  },
)

const count = (description: string) => Type.Integer({ minimum: 0, description })

/** How many chats subscribe to a topic. */
export const TopicCount = Type.Object(
  {
    topic: Type.String({ description: 'Name of the topic.', examples: ['maintenance'] }),
    summary: Type.String({ description: 'What who subscribes gets.' }),
    total: count('Chats that subscribe to it.'),
    telegram: count('Those of them on Telegram.'),
    discord: count('Those of them on Discord.'),
  },
  { additionalProperties: false },
)
export type TopicCount = Of<typeof TopicCount>

export const TopicCounts = Type.Object({ items: Type.Array(TopicCount) }, { additionalProperties: false })
export type TopicCounts = Of<typeof TopicCounts>
