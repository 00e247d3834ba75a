import { t } from 'elysia'
import { admin, everyone } from '@/core/access'
import { addressOf } from '@/core/address'
import { controller, adminOf, pageQuery } from '@/core/controller'
import { type Device, SessionPage, SessionTokens } from '@/modules/session'
import type { AdminSessionBiz } from './biz'
import { LoggedIn, LogIn, Refresh } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the session.' }) })

const deviceOf = (request: Request): Device => ({
  userAgent: request.headers.get('user-agent') ?? undefined,
  address: addressOf(request),
})

export const adminSessionController = (biz: AdminSessionBiz) =>
  controller({ prefix: '/sessions', tags: ['Sessions'] })
    .post(
      '',
      async ({ body, set, request }) => {
        const loggedIn = await biz.logIn(body, deviceOf(request))
        set.status = 201
        return loggedIn
      },
      {
        body: LogIn,
        parse: 'json',
        response: { 201: LoggedIn },
        givesSecrets: true,
        access: [everyone()],
        limit: 'credentials',
        fails: ['Unauthenticated', 'PermissionDenied', 'ResourceExhausted'],
        detail: { operationId: 'logIn', summary: 'Log in' },
      },
    )
    .post('/refresh', ({ body, request }) => biz.refresh(body.refreshToken, deviceOf(request)), {
      body: Refresh,
      parse: 'json',
      response: { 200: SessionTokens },
      givesSecrets: true,
      access: [everyone()],
      limit: 'credentials',
      fails: ['Unauthenticated'],
      detail: {
        operationId: 'refreshSession',
        summary: 'Get new tokens',
        description:
          'A refresh token is good for one refresh. Used again soon after (the setting session.graceMs) it gives the same next one, so an answer that was lost costs nothing; used again later it ends the session.',
      },
    })
    .get(
      '',
      ({ query, request }) => {
        const { id, sessionId } = adminOf(request)
        return biz.list(id, sessionId, query)
      },
      {
        query: pageQuery,
        response: { 200: SessionPage },
        access: [admin()],
        detail: { operationId: 'listSessions', summary: 'List your sessions' },
      },
    )
    .delete(
      '/current',
      async ({ request, set }) => {
        const { id, sessionId } = adminOf(request)
        await biz.end(id, sessionId)
        set.status = 204
      },
      {
        response: { 204: t.Void() },
        access: [admin()],
        fails: ['NotFound'],
        detail: { operationId: 'logOut', summary: 'Log out' },
      },
    )
    .delete(
      '/:id',
      async ({ params, request, set }) => {
        await biz.end(adminOf(request).id, params.id)
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access: [admin()],
        fails: ['NotFound'],
        detail: { operationId: 'endSession', summary: 'End one of your sessions' },
      },
    )
