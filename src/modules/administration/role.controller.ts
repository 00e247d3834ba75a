import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, ifMatch, pageQuery } from '@/core/controller'
import { created, expectedBy, tagged } from '@/core/etag'
import { revocationMaxMs } from '@/core/revocations'
import { AdminRole, AdminRolePage, AdminRolePatch, NewAdminRole } from '@/modules/admin-role'
import type { RoleBiz } from './role.biz'
import { PermissionPage } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the role.' }) })
const write = [admin('roles:write', { isDangerous: true })]
const takesEffect = `Whoever has it may do so, or not, within ${revocationMaxMs / 1000} seconds, on every server.`

export const permissionController = (biz: RoleBiz) =>
  controller({ prefix: '/permissions', tags: ['Roles'] }).get('', () => biz.listPermissions(), {
    response: { 200: PermissionPage },
    access: [admin()],
    detail: { operationId: 'listPermissions', summary: 'List all permissions that a role can have' },
  })

/** Roles of administrators: names for sets of permissions. */
export const roleController = (biz: RoleBiz) =>
  controller({ prefix: '/roles', tags: ['Roles'] })
    .get('', ({ query }) => biz.list(query), {
      query: pageQuery,
      response: { 200: AdminRolePage },
      access: [admin('roles:read')],
      detail: { operationId: 'listRoles', summary: 'List roles, in the order of their names' },
    })
    .post('', async ({ body, request, set, route }) => tagged(created(await biz.create(body, askingOf(request)), set, route), set), {
      body: NewAdminRole,
      parse: 'json',
      response: { 201: AdminRole },
      sets: ['ETag', 'Location'],
      access: write,
      fails: ['Conflict', 'PermissionDenied', 'Unprocessable'],
      detail: { operationId: 'createRole', summary: 'Make a role of permissions that you hold yourself' },
    })
    .get('/:id', async ({ params, set }) => tagged(await biz.get(params.id), set), {
      params,
      response: { 200: AdminRole },
      sets: ['ETag'],
      access: [admin('roles:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getRole', summary: 'Get a role' },
    })
    .patch(
      '/:id',
      async ({ params, body, headers, request, set }) =>
        tagged(await biz.change(params.id, body, expectedBy(headers['if-match']), askingOf(request)), set),
      {
        params,
        headers: ifMatch,
        body: AdminRolePatch,
        parse: 'json',
        response: { 200: AdminRole },
        sets: ['ETag'],
        access: write,
        fails: ['NotFound', 'Conflict', 'Aborted', 'FailedPrecondition', 'PermissionDenied', 'Unprocessable'],
        detail: {
          operationId: 'changeRole',
          summary: 'Change a role of which you hold all that it allows, before and after',
          description: takesEffect,
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
        detail: { operationId: 'deleteRole', summary: 'Delete a role that nobody has, and of which you hold all permissions' },
      },
    )
