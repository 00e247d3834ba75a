import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery } from '@/core/controller'
import { created } from '@/core/etag'
import type { AnnouncementBiz } from './biz'
import { Announcement, AnnouncementPage, NewAnnouncement } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the announcement.' }) })
const read = [admin('announcements:read')]

export const announcementController = (biz: AnnouncementBiz) =>
  controller({ prefix: '/announcements', tags: ['Announcements'] })
    .post('', async ({ body, set, route, request }) => created(await biz.announce(body, askingOf(request)), set, route), {
      body: NewAnnouncement,
      parse: 'json',
      response: { 201: Announcement },
      sets: ['Location'],
      // What has been sent to everybody cannot be taken back.
      access: [admin('announcements:write', { isDangerous: true })],
      fails: ['Unprocessable', 'ResourceExhausted'],
      detail: {
        operationId: 'createAnnouncement',
        summary: 'Announce something to the chats that have subscribed to a topic, now or later',
        description: 'Send an Idempotency-Key, so that it is announced once even when no answer came and you send it again.',
      },
    })
    .get('/:id', ({ params }) => biz.get(params.id), {
      params,
      response: { 200: Announcement },
      access: read,
      fails: ['NotFound'],
      detail: { operationId: 'getAnnouncement', summary: 'See how far an announcement is' },
    })
    .post('/:id/cancel', ({ params, request }) => biz.cancel(params.id, askingOf(request)), {
      params,
      response: { 200: Announcement },
      access: [admin('announcements:write')],
      fails: ['NotFound', 'FailedPrecondition'],
      detail: {
        operationId: 'cancelAnnouncement',
        summary: 'Cancel an announcement that is not sent to everybody yet',
        description: 'No message is begun any more. What is under way at that moment may still come.',
      },
    })
    .get('', ({ query }) => biz.list(query), {
      query: pageQuery,
      response: { 200: AnnouncementPage },
      access: read,
      detail: { operationId: 'listAnnouncements', summary: 'List announcements, the newest first' },
    })
