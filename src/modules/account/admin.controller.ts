import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery } from '@/core/controller'
import { Account, Status } from '@/modules/user'
import type { AccountBiz } from './biz'
import { AccountPage } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the user.' }) })
const query = t.Object(
  {
    ...pageQuery.properties,
    status: t.Optional(Status),
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
      detail: { operationId: 'listUsers', summary: 'List users, the newest first' },
    })
    .get('/:id', ({ params }) => biz.get(params.id), {
      params,
      response: { 200: Account },
      access: [admin('users:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getUser', summary: 'Get a user' },
    })
    .post('/:id/suspend', ({ params, request }) => biz.suspend(params.id, askingOf(request)), {
      params,
      response: { 200: Account },
      access: [admin('users:suspend')],
      fails: ['NotFound', 'Aborted'],
      detail: { operationId: 'suspendUser', summary: 'Suspend a user, which ends the sessions' },
    })
    .post('/:id/restore', ({ params, request }) => biz.restore(params.id, askingOf(request)), {
      params,
      response: { 200: Account },
      access: [admin('users:suspend')],
      fails: ['NotFound', 'Aborted'],
      detail: { operationId: 'restoreUser', summary: 'Let a suspended user in again' },
    })
