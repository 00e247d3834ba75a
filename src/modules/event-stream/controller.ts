import { t } from 'elysia'
import { admin } from '@/core/access'
import { controller } from '@/core/controller'
import { eventStreamOf, eventStreamType } from '@/core/event-stream'
import { adminOf, demand, identityAgain } from '@/core/guard'
import type { EventStreamBiz } from './biz'
import { topicPermissions, topics } from './schema'

const query = t.Object(
  {
    topics: t.Optional(
      t.String({
        maxLength: 64,
        description: `What to tell of: some of ${topics.join(', ')}, with commas between them. All that the caller may see when absent.`,
      }),
    ),
  },
  { additionalProperties: false },
)
const headers = t.Object({
  'last-event-id': t.Optional(
    t.String({ maxLength: 256, description: 'The last id that was got: what has not changed since is not sent.' }),
  ),
})
/** The least that can be said of a connection's time, in seconds. */
const atOnceSeconds = 1

export const eventStreamController = (biz: EventStreamBiz) =>
  controller({ prefix: '/events', tags: ['Event stream'] }).get(
    '',
    ({ query, headers, request, server }) =>
      eventStreamOf(
        biz.open({
          who: adminOf(request),
          topics: query.topics,
          lastEventId: headers['last-event-id'],
          demand: permission => demand(request, permission),
          again: () => identityAgain(request),
          cut: () => server?.timeout(request, atOnceSeconds),
        }),
      ),
    {
      query,
      headers,
      response: { 200: t.String({ description: 'Events, for as long as both sides go on.' }) },
      gives: [eventStreamType],
      access: topics.map(topic => admin(topicPermissions[topic])),
      fails: ['PermissionDenied', 'ResourceExhausted', 'Unavailable'],
      detail: {
        operationId: 'listenToEvents',
        summary: 'Be told of queues, schedules and processes as they change',
        description: [
          'Server-sent events, one for each topic that has changed: its name is the topic, its data the whole state, `{ "items": […], "isPartial": false }`.',
          'Items of `queues` are those of GET /admin/v1/queues; of `schedules` and `processes` what of theirs changes.',
          'A client that connects again with the Last-Event-ID that it got last, as EventSource does, is sent what is another by then, by whichever process answers.',
          '`unavailable` names a topic that cannot be read at the moment. `end` says why the server ends the stream:',
          '`stopping`, `credential` (log in or refresh, then come again), `permission`, `unknown`, `slow`.',
        ].join(' '),
      },
    },
  )
