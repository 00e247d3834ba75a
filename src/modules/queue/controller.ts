import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery } from '@/core/controller'
import { Type } from '@/core/schema'
import type { QueueBiz } from './biz'
import { ErrorGroupPage, FindingPage, Mend, Queue, QueuePage, scannedMax } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Name of the queue.' }) })
const errorsQuery = t.Object(
  {
    scannedMax: t.Optional(
      t.Integer({
        minimum: 1,
        maximum: scannedMax,
        description: `How many dead letters to look at, the newest first; 10000 by default, at most ${scannedMax}.`,
      }),
    ),
  },
  { additionalProperties: false },
)
const { pageToken } = pageQuery.properties
const stepQuery = t.Object({ pageToken }, { additionalProperties: false })
const read = [admin('queues:read')]
const write = [admin('queues:write')]
const parts = 'A request looks for some seconds at most: go on with nextPageToken until it is empty.'

export const queueController = (biz: QueueBiz) =>
  controller({ prefix: '/queues', tags: ['Queues'] })
    .get('', () => biz.list(), {
      response: { 200: QueuePage },
      access: read,
      detail: { operationId: 'listQueues', summary: 'List all queues, with how full and how fast they are' },
    })
    .get('/:id', ({ params }) => biz.get(params.id), {
      params,
      response: { 200: Queue },
      access: read,
      fails: ['NotFound'],
      detail: { operationId: 'getQueue', summary: 'See how full and how fast a queue is' },
    })
    .post('/:id/pause', ({ params, request }) => biz.pause(params.id, askingOf(request)), {
      params,
      response: { 200: Queue },
      access: write,
      fails: ['NotFound'],
      detail: { operationId: 'pauseQueue', summary: 'Start nothing of a queue until it is resumed; what runs goes on' },
    })
    .post('/:id/resume', ({ params, request }) => biz.resume(params.id, askingOf(request)), {
      params,
      response: { 200: Queue },
      access: write,
      fails: ['NotFound'],
      detail: { operationId: 'resumeQueue', summary: 'Start tasks of a queue again' },
    })
    .get('/:id/errors', ({ params, query }) => biz.errors(params.id, query.scannedMax), {
      params,
      query: errorsQuery,
      response: { 200: ErrorGroupPage },
      // What tasks have died of may name what they were about.
      access: [admin('tasks:read')],
      fails: ['NotFound'],
      detail: { operationId: 'listQueueErrors', summary: 'See what dead letters of a queue died of, and how many' },
    })
    .get('/:id/findings', ({ params, query }) => biz.check(params.id, query.pageToken), {
      params,
      query: stepQuery,
      response: { 200: FindingPage },
      access: read,
      fails: ['NotFound'],
      detail: {
        operationId: 'listQueueFindings',
        summary: 'Compare what of a queue belongs together; nothing is changed',
        description: parts,
      },
    })
    .post('/:id/mend', ({ params, body, request }) => biz.mend(params.id, body?.pageToken, askingOf(request)), {
      params,
      body: Type.Optional(Mend),
      parse: 'json',
      response: { 200: FindingPage },
      access: write,
      fails: ['NotFound'],
      detail: { operationId: 'mendQueue', summary: 'Mend what does not belong together and can be mended', description: parts },
    })
