import { t } from 'elysia'
import { admin } from '@/core/access'
import { controller } from '@/core/controller'
import { topicNameMax } from '@/core/topic'
import type { SubscriptionBiz } from './biz'
import { TopicCounts } from './schema'

const query = t.Object(
  { topic: t.Optional(t.String({ maxLength: topicNameMax, description: 'Name of one topic; all when absent.' })) },
  { additionalProperties: false },
)

export const subscriptionController = (biz: SubscriptionBiz) =>
  controller({ prefix: '/subscriptions', tags: ['Announcements'] }).get('', ({ query }) => biz.counts(query.topic), {
    query,
    response: { 200: TopicCounts },
    access: [admin('announcements:read')],
    fails: ['NotFound'],
    detail: {
      operationId: 'countSubscriptions',
      summary: 'See which topics there are, and how many chats subscribe to each',
      description: 'Which chats they are is not said to anybody.',
    },
  })
