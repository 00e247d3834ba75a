import { platformNames } from '@/core/chat'
import { dayMs, yearMs } from '@/core/clock'
import { defineErrors } from '@/core/error'
import { defineLimit } from '@/core/queue/limit'
import { defineTask } from '@/core/queue/task'
import { Id, Input, type Of, OneOf, Page, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'
import { topicNameMax } from '@/core/topic'

export const announcementErrors = defineErrors({
  AnnouncementNotFound: ['NotFound', 'There is no such announcement.'],
  AnnouncementEnded: ['FailedPrecondition', 'The announcement has been sent to everybody already, and cannot be taken back.'],
  UnknownTopic: ['Unprocessable', 'There is no such topic; name one of those that chats can subscribe to.'],
  AtTooLate: ['Unprocessable', 'An announcement can be put off for a year at most; choose an earlier time.'],
  TooManyAnnouncements: [
    'ResourceExhausted',
    'As many announcements wait or are sent as may at a time. Cancel one, or wait until one is sent.',
  ],
  DeliveryTaken: ['Conflict', 'This chat has a delivery of this announcement already.'],
})

/** Most announcements that are scheduled or sent at a time. */
export const openMax = 100
/** An announcement can be put off for so long. */
export const aheadMaxMs = yearMs
/** What could not be delivered so long after it began is not delivered any more: nobody wants old news. */
export const deliveredWithinMs = dayMs
/** What is known of each chat is kept for so long after an announcement has ended; how many there were is kept with it. */
export const deliveriesKeptMs = 7 * dayMs
/** Announcements that ended longer ago are removed. */
export const announcementsKeptMs = yearMs
/** Chats that are looked up, and get their deliveries, in one transaction. */
export const spreadMax = 500
/** Messages under way to one platform at a time, of all processes: enough that its answers, and not we, limit how many it is sent. */
export const underWayMax = 16

/** A message that may have arrived is sent so often at most, where the platform cannot show it once. */
export const unansweredMax = 2

const Text = Type.String({
  minLength: 1,
  maxLength: 2000,
  pattern: '\\S',
  description: 'What is sent, as plain text: 1–2,000 characters, and not only spaces.',
})
const Topic = Type.String({
  ...{ minLength: 1, maxLength: topicNameMax, pattern: '^[a-z0-9-]+$' },
  description: 'A topic, by its name: small letters, digits and -. Sent to the chats that have subscribed to it.',
})
const State = OneOf(['scheduled', 'sending', 'sent', 'cancelled'], {
  description: 'sent: every chat was tried. cancelled: those that did not have it by then do not get it.',
})
const Count = (description: string) => Type.Integer({ minimum: 0, description })

/** The row decides who may spread it: whoever does names the version that it has seen. */
export const announcements = defineTable(
  'announcement',
  {
    topic: Topic,
    text: Text,
    state: State,
    at: Timestamp('When it begins to be sent.'),
    startedAt: Type.Optional(Timestamp('When it began to be sent.')),
    endedAt: Type.Optional(Timestamp('When every chat had been tried, or it was cancelled.')),
    lastSubscriberId: Type.Optional(Id('The last that has its delivery; what comes next begins behind.')),
    isSpread: Type.Boolean({ description: 'Whether all chats have their deliveries.' }),
    isCounted: Type.Boolean({ description: 'Whether the numbers are final. Until then the deliveries are counted.' }),
    total: Count('Chats that it is for.'),
    sent: Count('Chats that have it.'),
    gone: Count('Chats that were not there any more, or did not want it any more when it was their turn.'),
    failed: Count('Chats that could not be reached.'),
  },
  { sortable: ['createdAt'] },
)
export type AnnouncementRow = RowOf<typeof announcements>

export const DeliveryState = OneOf(['pending', 'sent', 'gone', 'failed'], { description: 'pending: it waits, or is under way.' })
export type DeliveryState = Of<typeof DeliveryState>

/** An announcement on its way to one chat. */
export const deliveries = defineTable(
  'delivery',
  {
    announcementId: Id(),
    subscriberId: Id('The chat, as subscriptions know it: its platform may call it otherwise by the time that it is its turn.'),
    platform: OneOf(platformNames, { description: 'Where the chat is.' }),
    state: DeliveryState,
    attempts: Count('How often the platform was asked. More than once where it was busy, or a process died in the middle.'),
    unanswered: Count('How often of these it has not said whether it took the message.'),
    messageId: Type.Optional(Type.String({ maxLength: 64, description: 'As the platform calls it.' })),
    error: Type.Optional(Type.String({ maxLength: 100, description: 'The code of why it has failed.' })),
  },
  {
    unique: [{ columns: ['announcementId', 'subscriberId'], taken: announcementErrors.DeliveryTaken }],
    // How far an announcement is, is read from this index alone.
    indexes: [['announcementId', 'state']],
  },
)
export type DeliveryRow = RowOf<typeof deliveries>

const Progress = Type.Object(
  {
    total: Count('Chats that it is for. Those that subscribe while it is sent may be among them.'),
    sent: Count('Chats that have it.'),
    gone: Count('Chats that were not there any more, or did not want it any more when it was their turn.'),
    failed: Count(
      'Chats that could not be reached: the platform refused the message, was off, was away for too long, or has not said whether it took it, and then it may have arrived.',
    ),
    pending: Count('Chats that are still to get it.'),
    cancelled: Count('Chats that do not get it, since it was cancelled.'),
  },
  { additionalProperties: false, description: 'How far it is.' },
)
export type Progress = Of<typeof Progress>

export const Announcement = Type.Object(
  {
    ...Type.Pick(announcements.schema, ['id', 'topic', 'text', 'state', 'at', 'startedAt', 'endedAt', 'createdAt']).properties,
    progress: Progress,
  },
  { additionalProperties: false },
)
export type Announcement = Of<typeof Announcement>
export const AnnouncementPage = Page(Announcement)
export type AnnouncementPage = Of<typeof AnnouncementPage>

export const NewAnnouncement = Input(
  { topic: Topic, text: Text, at: Type.Optional(Timestamp('When to send it. Now when absent or past; a year ahead at most.')) },
  { description: 'What to tell the chats that have subscribed to a topic, and when.' },
)
export type NewAnnouncement = Of<typeof NewAnnouncement>

/** Gives each chat a delivery, and stays until all of them have ended. Before deliveries: it takes little, and says when it is over. */
export const sendAnnouncement = defineTask('announcement.send', Input({ announcementId: Id() }), {
  queue: 'broadcast',
  priority: 3,
  timeoutMs: 120_000,
  backoff: { minMs: 1000, maxMs: 60_000, factor: 2 },
  maxRetries: 1000,
  byHand: 'never',
})

/** One message to one chat. Retried for an hour; what a platform wants to be put off is no failure, and put off. */
export const deliver = defineTask('announcement.deliver', Input({ deliveryId: Id() }), {
  queue: 'broadcast',
  maxRetries: 20,
  backoff: { minMs: 1000, maxMs: 300_000, factor: 2 },
  timeoutMs: 60_000,
  limit: defineLimit('broadcast', { concurrency: underWayMax }),
  byHand: 'never',
})
