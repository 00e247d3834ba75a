import { t } from 'elysia'
import { apiKey, everyone, owner } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, ifMatch, pageQuery } from '@/core/controller'
import { created, expectedBy, tagged } from '@/core/etag'
import type { UserBiz } from './biz'
import { SignUp, Status, User, UserPage, UserPatch } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the user.' }) })
const query = t.Object(
  {
    ...pageQuery.properties,
    orderBy: t.Optional(
      t.String({ maxLength: 64, description: 'createdAt, username or email, then asc or desc. createdAt desc by default.' }),
    ),
    status: t.Optional(Status),
  },
  { additionalProperties: false },
)

export const userController = (biz: UserBiz) =>
  controller({ prefix: '/users', tags: ['Users'] })
    .post('', async ({ body, set, route }) => tagged(created(await biz.signUp(body), set, route), set), {
      body: SignUp,
      parse: 'json',
      response: { 201: User },
      sets: ['ETag', 'Location'],
      limit: 'credentials',
      access: [everyone()],
      fails: ['Conflict', 'PermissionDenied'],
      detail: { operationId: 'signUp', summary: 'Sign up' },
    })
    .get('/:id', async ({ params, set }) => tagged(await biz.get(params.id), set), {
      params,
      response: { 200: User },
      sets: ['ETag'],
      access: [owner(), apiKey('users:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getUser', summary: 'Get a user' },
    })
    .patch(
      '/:id',
      async ({ params, body, headers, request, set }) =>
        tagged(await biz.change(params.id, body, expectedBy(headers['if-match']), askingOf(request)), set),
      {
        params,
        headers: ifMatch,
        body: UserPatch,
        parse: 'json',
        response: { 200: User },
        sets: ['ETag'],
        access: [owner(), apiKey('users:write')],
        limit: 'credentials',
        fails: ['NotFound', 'Conflict', 'Aborted', 'FailedPrecondition', 'PermissionDenied', 'ResourceExhausted'],
        detail: { operationId: 'changeUser', summary: 'Change a user' },
      },
    )
    .get('', ({ query: { status, ...page } }) => biz.list({ ...page, ...(status && { where: { status } }) }), {
      query,
      response: { 200: UserPage },
      access: [apiKey('users:read')],
      detail: { operationId: 'listUsers', summary: 'List users' },
    })
