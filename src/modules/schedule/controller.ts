import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, ifMatch, pageQuery } from '@/core/controller'
import { created, expectedBy, taggedWeakly } from '@/core/etag'
import type { ScheduleBiz } from './biz'
import { NewSchedule, NextTicks, Run, Schedule, SchedulePage, SchedulePatch, TickPage } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id or name of the schedule.' }) })
const previewQuery = t.Object(
  { count: t.Optional(t.Integer({ description: 'How many ticks, 1–1000; 5 by default.' })) },
  { additionalProperties: false },
)
const read = [admin('schedules:read')]
const write = [admin('schedules:write')]
/** What enqueues what somebody has chosen. */
const enqueuing = [admin('schedules:write', { isDangerous: true })]

const takesEffect = 'All processes know within two seconds.'

/** Tags are weak: the next ticks of a schedule pass without a change of it. */
export const scheduleController = (biz: ScheduleBiz) =>
  controller({ prefix: '/schedules', tags: ['Schedules'] })
    .get('', ({ query }) => biz.list(query), {
      query: pageQuery,
      response: { 200: SchedulePage },
      access: read,
      detail: { operationId: 'listSchedules', summary: 'List schedules, in the order of their names' },
    })
    .post('', async ({ body, set, route, request }) => taggedWeakly(created(await biz.create(body, askingOf(request)), set, route), set), {
      body: NewSchedule,
      parse: 'json',
      response: { 201: Schedule },
      sets: ['ETag', 'Location'],
      access: enqueuing,
      fails: ['Conflict'],
      detail: { operationId: 'createSchedule', summary: 'Make a schedule', description: takesEffect },
    })
    .post('/preview', ({ body, query }) => biz.preview(body, query.count), {
      body: NewSchedule,
      parse: 'json',
      query: previewQuery,
      response: { 200: NextTicks },
      access: read,
      detail: { operationId: 'previewSchedule', summary: 'Check a schedule and see its next ticks; nothing is saved' },
    })
    .get('/:id', async ({ params, set }) => taggedWeakly(await biz.get(params.id), set), {
      params,
      response: { 200: Schedule },
      sets: ['ETag'],
      access: read,
      fails: ['NotFound'],
      detail: { operationId: 'getSchedule', summary: 'Get a schedule' },
    })
    .patch(
      '/:id',
      async ({ params, body, headers, set, request }) =>
        taggedWeakly(await biz.change(params.id, body, expectedBy(headers['if-match']), askingOf(request)), set),
      {
        params,
        headers: ifMatch,
        body: SchedulePatch,
        parse: 'json',
        response: { 200: Schedule },
        sets: ['ETag'],
        access: enqueuing,
        fails: ['NotFound', 'Conflict', 'Aborted', 'FailedPrecondition'],
        detail: { operationId: 'changeSchedule', summary: 'Change a schedule that is not in code', description: takesEffect },
      },
    )
    .delete(
      '/:id',
      async ({ params, headers, set, request }) => {
        await biz.remove(params.id, expectedBy(headers['if-match']), askingOf(request))
        set.status = 204
      },
      {
        params,
        headers: ifMatch,
        response: { 204: t.Void() },
        access: write,
        fails: ['NotFound', 'Aborted', 'FailedPrecondition'],
        detail: {
          operationId: 'deleteSchedule',
          summary: 'Delete a schedule; the tasks that it has enqueued stay',
          description: takesEffect,
        },
      },
    )
    .post('/:id/pause', async ({ params, set, request }) => taggedWeakly(await biz.pause(params.id, askingOf(request)), set), {
      params,
      response: { 200: Schedule },
      sets: ['ETag'],
      access: write,
      fails: ['NotFound'],
      detail: { operationId: 'pauseSchedule', summary: 'Let its ticks pass by until it is resumed', description: takesEffect },
    })
    .post('/:id/resume', async ({ params, set, request }) => taggedWeakly(await biz.resume(params.id, askingOf(request)), set), {
      params,
      response: { 200: Schedule },
      sets: ['ETag'],
      access: write,
      fails: ['NotFound'],
      detail: { operationId: 'resumeSchedule', summary: 'Fire its ticks again, from now on', description: takesEffect },
    })
    .post(
      '/:id/run',
      ({ params, set, request }) => {
        set.status = 202
        return biz.run(params.id, askingOf(request))
      },
      {
        params,
        response: { 202: Run },
        access: enqueuing,
        fails: ['NotFound', 'Unprocessable'],
        detail: { operationId: 'runSchedule', summary: 'Enqueue its task now, besides its ticks, paused or not' },
      },
    )
    .get('/:id/ticks', ({ params, query }) => biz.ticks(params.id, query), {
      params,
      query: pageQuery,
      response: { 200: TickPage },
      access: read,
      fails: ['NotFound'],
      detail: { operationId: 'listTicks', summary: 'See what became of its last ticks, the newest first' },
    })
