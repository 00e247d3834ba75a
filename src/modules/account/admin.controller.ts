import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, ifMatch, pageQuery } from '@/core/controller'
import { created, expectedBy, tagged, taggedWeakly } from '@/core/etag'
import { Account, NewUser, Status } from '@/modules/user'
import type { AccountBiz } from './biz'
import { Accepted, AccountDetails, AccountPage, EndedSessions } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the user.' }) })
const query = t.Object(
  {
    ...pageQuery.properties,
    status: t.Optional(Status),
    search: t.Optional(
      t.String({
        maxLength: 254,
        description: 'What a username begins with; with an @ in it, an address; or a whole id. Case does not count.',
      }),
    ),
  },
  { additionalProperties: false },
)

/** Accounts as administrators see them, who can choose nobody's password. */
export const accountAdminController = (biz: AccountBiz) =>
  controller({ prefix: '/users', tags: ['Users'] })
    .get('', ({ query }) => biz.list(query), {
      query,
      response: { 200: AccountPage },
      access: [admin('users:read')],
      detail: {
        operationId: 'listUsers',
        summary: 'List users, the newest first; those that are searched for in the order of their names',
      },
    })
    .post('', async ({ body, request, set, route }) => tagged(created(await biz.create(body, askingOf(request)), set, route), set), {
      body: NewUser,
      parse: 'json',
      response: { 201: Account },
      sets: ['ETag', 'Location'],
      limit: 'credentials',
      access: [admin('users:create')],
      fails: ['Conflict'],
      detail: {
        operationId: 'createUser',
        summary: 'Make an account for somebody, who is sent a code to choose the password with',
        description: 'Also while nobody can sign up.',
      },
    })
    .get(
      '/:id',
      // What is counted beside the user comes and goes without a change of the user.
      async ({ params, set }) => taggedWeakly(await biz.show(params.id), set),
      {
        params,
        response: { 200: AccountDetails },
        sets: ['ETag'],
        access: [admin('users:read')],
        fails: ['NotFound'],
        detail: { operationId: 'getUser', summary: 'Get a user, and how many sessions and API keys there are' },
      },
    )
    .delete(
      '/:id',
      async ({ params, headers, request, set }) => {
        await biz.remove(params.id, expectedBy(headers['if-match']), askingOf(request))
        set.status = 204
      },
      {
        params,
        headers: ifMatch,
        response: { 204: t.Void() },
        access: [admin('users:delete', { isDangerous: true })],
        fails: ['NotFound', 'FailedPrecondition'],
        detail: { operationId: 'deleteUser', summary: 'Delete a user, with sessions and API keys' },
      },
    )
    .post('/:id/end-sessions', ({ params, request }) => biz.endSessions(params.id, askingOf(request)), {
      params,
      response: { 200: EndedSessions },
      access: [admin('users:reset')],
      fails: ['NotFound'],
      detail: { operationId: 'endUserSessions', summary: 'Log a user out everywhere; API keys go on' },
    })
    .post(
      '/:id/send-reset',
      async ({ params, request, set }) => {
        await biz.sendReset(params.id, askingOf(request))
        set.status = 202
        return { message: 'The user is being sent a code.' }
      },
      {
        params,
        response: { 202: Accepted },
        limit: 'credentials',
        access: [admin('users:reset')],
        fails: ['NotFound', 'Unprocessable', 'ResourceExhausted'],
        detail: { operationId: 'sendUserReset', summary: 'Have a user sent a reset: a code to choose another password with' },
      },
    )
    .post('/:id/suspend', async ({ params, request, set }) => tagged(await biz.suspend(params.id, askingOf(request)), set), {
      params,
      response: { 200: Account },
      sets: ['ETag'],
      access: [admin('users:suspend')],
      fails: ['NotFound', 'Aborted'],
      detail: { operationId: 'suspendUser', summary: 'Suspend a user, which ends the sessions' },
    })
    .post('/:id/restore', async ({ params, request, set }) => tagged(await biz.restore(params.id, askingOf(request)), set), {
      params,
      response: { 200: Account },
      sets: ['ETag'],
      access: [admin('users:suspend')],
      fails: ['NotFound', 'Aborted'],
      detail: { operationId: 'restoreUser', summary: 'Let a suspended user in again' },
    })
