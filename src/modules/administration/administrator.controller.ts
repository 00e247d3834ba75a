import { t } from 'elysia'
import { admin, everyone } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, ifMatch, pageQuery } from '@/core/controller'
import { created, expectedBy, taggedWeakly } from '@/core/etag'
import { revocationMaxMs } from '@/core/revocations'
import { Administrator, AdministratorPage, Invitation, Status } from '@/modules/administrator'
import type { AdministratorAdminBiz } from './administrator.biz'
import { Acceptance, Accepted, AdministratorPatch, MadeAdministrator, NewAdministrator } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the administrator.' }) })
const query = t.Object(
  {
    ...pageQuery.properties,
    status: t.Optional(Status),
    search: t.Optional(t.String({ maxLength: 64, description: 'What a username begins with, or a whole id. Case does not count.' })),
  },
  { additionalProperties: false },
)
const write = [admin('admins:write', { isDangerous: true })]
const within = `within ${revocationMaxMs / 1000} seconds`
const ofEqual = 'Needs every permission that the administrator has, before and after; else 403 PermissionDenied.NotHeld.'

/** Accounts of administrators. Tags are weak: what their roles are called and allow changes without a change of them. */
export const administratorAdminController = (biz: AdministratorAdminBiz) =>
  controller({ prefix: '/admins', tags: ['Administrators'] })
    .get('', ({ query }) => biz.list(query), {
      query,
      response: { 200: AdministratorPage },
      access: [admin('admins:read')],
      detail: {
        operationId: 'listAdmins',
        summary: 'List administrators, the newest first; those that are searched for in the order of their names',
      },
    })
    .post(
      '',
      async ({ body, request, set, route }) => {
        const made = await biz.create(body, askingOf(request))
        taggedWeakly(created(made.administrator, set, route), set)
        return made
      },
      {
        body: NewAdministrator,
        parse: 'json',
        response: { 201: MadeAdministrator },
        sets: ['ETag', 'Location'],
        givesSecrets: true,
        access: write,
        fails: ['Conflict', 'Aborted', 'PermissionDenied', 'Unprocessable'],
        detail: {
          operationId: 'createAdmin',
          summary: 'Make an administrator, who chooses a password with the code of the invitation, which is shown once',
          description: ofEqual,
        },
      },
    )
    .get('/:id', async ({ params, set }) => taggedWeakly(await biz.get(params.id), set), {
      params,
      response: { 200: Administrator },
      sets: ['ETag'],
      access: [admin('admins:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getAdmin', summary: 'Get an administrator' },
    })
    .patch(
      '/:id',
      async ({ params, body, headers, request, set }) =>
        taggedWeakly(await biz.setRoles(params.id, body.roleIds, expectedBy(headers['if-match']), askingOf(request)), set),
      {
        params,
        headers: ifMatch,
        body: AdministratorPatch,
        parse: 'json',
        response: { 200: Administrator },
        sets: ['ETag'],
        access: write,
        fails: ['NotFound', 'Aborted', 'FailedPrecondition', 'PermissionDenied', 'Unprocessable'],
        detail: {
          operationId: 'changeAdmin',
          summary: `Give an administrator other roles, which takes effect ${within}`,
          description: ofEqual,
        },
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
        access: write,
        fails: ['NotFound', 'Aborted', 'FailedPrecondition', 'PermissionDenied', 'Unprocessable'],
        detail: { operationId: 'deleteAdmin', summary: 'Delete an administrator, whose sessions end', description: ofEqual },
      },
    )
    .post('/:id/suspend', async ({ params, request, set }) => taggedWeakly(await biz.suspend(params.id, askingOf(request)), set), {
      params,
      response: { 200: Administrator },
      sets: ['ETag'],
      access: write,
      fails: ['NotFound', 'Aborted', 'PermissionDenied', 'Unprocessable'],
      detail: { operationId: 'suspendAdmin', summary: `Suspend an administrator, whose sessions end ${within}`, description: ofEqual },
    })
    .post('/:id/restore', async ({ params, request, set }) => taggedWeakly(await biz.restore(params.id, askingOf(request)), set), {
      params,
      response: { 200: Administrator },
      sets: ['ETag'],
      access: write,
      fails: ['NotFound', 'Aborted', 'PermissionDenied'],
      detail: { operationId: 'restoreAdmin', summary: 'Let a suspended administrator in again', description: ofEqual },
    })
    .post(
      '/:id/invitations',
      async ({ params, request, set }) => {
        set.status = 201
        return biz.invite(params.id, askingOf(request))
      },
      {
        params,
        response: { 201: Invitation },
        givesSecrets: true,
        access: write,
        fails: ['NotFound', 'Aborted', 'PermissionDenied', 'Unprocessable'],
        detail: {
          operationId: 'inviteAdmin',
          summary: 'Invite an administrator again, or a reset: a code, shown once, with which they choose another password',
          description: `${ofEqual} Their password is good until they have chosen another; a second factor stays. An earlier code is void. The code ends with your power: it is good while you hold all that they hold, and until their roles are changed or they are suspended.`,
        },
      },
    )

/** For those who are invited, who cannot log in yet. */
export const invitationController = (biz: AdministratorAdminBiz) =>
  controller({ prefix: '/invitations', tags: ['Administrators'] }).post(
    '/accept',
    ({ body, request }) => biz.accept(body, askingOf(request)),
    {
      body: Acceptance,
      parse: 'json',
      response: { 200: Accepted },
      access: [everyone()],
      limit: 'credentials',
      fails: ['Aborted', 'Unprocessable'],
      detail: { operationId: 'acceptInvitation', summary: 'Choose a password with the code of an invitation, which ends all sessions' },
    },
  )
