import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery } from '@/core/controller'
import { Type } from '@/core/schema'
import type { TaskBiz } from './biz'
import {
  BulkCancel,
  BulkDelete,
  BulkMove,
  BulkResult,
  BulkRetry,
  bulkTasksMax,
  ChangedTask,
  EnqueuedTask,
  Move,
  NewTask,
  Place,
  QueueName,
  State,
  Task,
  TaskPage,
} from './schema'

const params = t.Object({ id: t.String({ maxLength: 128, description: 'Id of the task.' }) })
const where = t.Object(Place.properties, { additionalProperties: false })
const listQuery = t.Object({ queue: QueueName, state: State, ...pageQuery.properties }, { additionalProperties: false })
const read = [admin('tasks:read')]
const write = [admin('tasks:write')]
const one = { params, parse: 'json', response: { 200: ChangedTask }, access: write, fails: ['NotFound', 'FailedPrecondition'] } as const
const many = { parse: 'json', response: { 200: BulkResult }, access: write, fails: ['InvalidArgument'] } as const
const parts = `A request does it with at most ${bulkTasksMax} tasks, and takes some seconds at most: send it again with nextPageToken as pageToken until that is empty. With isDryRun it only counts.`

/** Tasks one by one, and, by the same verbs without an id, all that fit. */
export const taskController = (biz: TaskBiz) =>
  controller({ prefix: '/tasks', tags: ['Tasks'] })
    .get('', ({ query }) => biz.list(query), {
      query: listQuery,
      response: { 200: TaskPage },
      access: read,
      detail: {
        operationId: 'listTasks',
        summary: 'List tasks of a queue and a state, in the order in which they would be worked, dead letters the newest first',
      },
    })
    .post(
      '',
      async ({ body, set, route, request }) => {
        const enqueued = await biz.enqueue(body, askingOf(request))
        set.status = enqueued.status === 'enqueued' ? 201 : 200
        set.headers['location'] = `${route}/${encodeURIComponent(enqueued.id)}`
        return enqueued
      },
      {
        body: NewTask,
        parse: 'json',
        response: { 200: EnqueuedTask, 201: EnqueuedTask },
        sets: ['Location'],
        access: [admin('tasks:write', { isDangerous: true })],
        fails: ['Unprocessable'],
        detail: { operationId: 'enqueueTask', summary: 'Enqueue a task that a module declares' },
      },
    )
    .get('/:id', ({ params, query }) => biz.get(params.id, query.queue), {
      params,
      query: where,
      response: { 200: Task },
      access: read,
      fails: ['NotFound'],
      detail: { operationId: 'getTask', summary: 'See a task, with what it is about and what it has failed of' },
    })
    .delete(
      '/:id',
      async ({ params, query, request, set }) => {
        await biz.remove(params.id, query.queue, askingOf(request))
        set.status = 204
      },
      {
        params,
        query: where,
        response: { 204: t.Void() },
        access: write,
        fails: ['NotFound', 'FailedPrecondition'],
        detail: { operationId: 'deleteTask', summary: 'Delete a task that does not run' },
      },
    )
    .post('/:id/retry', ({ params, body, request }) => biz.retry(params.id, body?.queue, askingOf(request)), {
      ...one,
      body: Type.Optional(Place),
      detail: { operationId: 'retryTask', summary: 'Let a dead letter wait again, its failures forgotten' },
    })
    .post('/:id/cancel', ({ params, body, request }) => biz.cancel(params.id, body?.queue, askingOf(request)), {
      ...one,
      body: Type.Optional(Place),
      detail: { operationId: 'cancelTask', summary: 'Take a task away, or tell its worker to end it' },
    })
    .post('/:id/move', ({ params, body, request }) => biz.move(params.id, body.to, body.queue, askingOf(request)), {
      ...one,
      body: Move,
      detail: { operationId: 'moveTask', summary: 'Let a task wait in another queue' },
    })
    .post('/retry', ({ body, request }) => biz.bulk('retry', body, askingOf(request)), {
      ...many,
      body: BulkRetry,
      detail: { operationId: 'retryTasks', summary: 'Let all dead letters of a queue that fit wait again', description: parts },
    })
    .post('/cancel', ({ body, request }) => biz.bulk('cancel', body, askingOf(request)), {
      ...many,
      body: BulkCancel,
      detail: { operationId: 'cancelTasks', summary: 'Cancel all tasks of a queue that fit', description: parts },
    })
    .post('/move', ({ body, request }) => biz.bulk('move', body, askingOf(request)), {
      ...many,
      body: BulkMove,
      detail: { operationId: 'moveTasks', summary: 'Let all tasks of a queue that fit wait in another', description: parts },
    })
    .post('/delete', ({ body, request }) => biz.bulk('delete', body, askingOf(request)), {
      ...many,
      body: BulkDelete,
      access: [admin('tasks:write', { isDangerous: true })],
      detail: { operationId: 'deleteTasks', summary: 'Delete all tasks of a queue that fit and do not run', description: parts },
    })
