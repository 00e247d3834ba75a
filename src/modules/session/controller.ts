import { t } from 'elysia'
import { type Access, everyone } from '@/core/access'
import { addressOf } from '@/core/address'
import { type Controller, controller, pageQuery } from '@/core/controller'
import type { Device } from './biz'
import type { RealmSessions } from './realm.biz'
import { Refresh, SessionPage, SessionTokens } from './schema'

/** What a realm's server says of its sessions, for `sessionController`. */
export interface SessionRoutes {
  biz: Pick<RealmSessions, 'refresh' | 'list' | 'end'>
  /** Adds `POST ''`, which is each realm's own: what it takes to log in, and what one gets. */
  logIn(routes: SessionController): void
  /** Adds `POST /refresh`, where that is more than giving the next tokens for the last one. */
  refresh?(routes: SessionController): void
  /** When the session that asks has ended. */
  loggedOut?(request: Request, headers: Record<string, unknown>): void
  /** For whoever has logged in. */
  access: readonly Access[]
  callerOf(request: Request): { id: string; sessionId: string }
}

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the session.' }) })
export type SessionController = ReturnType<typeof empty>
const empty = () => controller({ prefix: '/sessions', tags: ['Sessions'] })

/** The routes of the sessions of one realm. */
export function sessionController({ biz, logIn, refresh, loggedOut, access, callerOf }: SessionRoutes): Controller {
  const routes = empty()
  // The first, since documents list routes as they were added.
  logIn(routes)
  if (refresh) refresh(routes)
  else
    routes.post('/refresh', ({ body, request }) => biz.refresh(body.refreshToken, deviceOf(request)), {
      ...refreshing(),
      body: Refresh,
      response: { 200: SessionTokens },
    })
  return routes
    .get(
      '',
      ({ query, request }) => {
        const { id, sessionId } = callerOf(request)
        return biz.list(id, sessionId, query)
      },
      {
        query: pageQuery,
        response: { 200: SessionPage },
        access,
        detail: { operationId: 'listSessions', summary: 'List your sessions' },
      },
    )
    .delete(
      '/current',
      async ({ request, set }) => {
        const { id, sessionId } = callerOf(request)
        await biz.end(id, sessionId, deviceOf(request))
        loggedOut?.(request, set.headers)
        set.status = 204
      },
      {
        response: { 204: t.Void() },
        access,
        fails: ['NotFound'],
        detail: { operationId: 'logOut', summary: 'Log out' },
      },
    )
    .delete(
      '/:id',
      async ({ params, request, set }) => {
        await biz.end(callerOf(request).id, params.id, deviceOf(request))
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access,
        fails: ['NotFound'],
        detail: { operationId: 'endSession', summary: 'End one of your sessions' },
      },
    )
}

/** What is the same of `POST /refresh` in all realms: made anew for each route, since the router adds to it. */
export const refreshing = (more = '') =>
  ({
    parse: 'json',
    givesSecrets: true,
    access: [everyone()],
    limit: 'credentials',
    fails: ['Unauthenticated'],
    detail: {
      operationId: 'refreshSession',
      summary: 'Get new tokens',
      description: `A refresh token is good for one refresh. Used again soon after (the setting session.graceMs) it gives the same next one, so an answer that was lost costs nothing; used again later it ends the session.${more}`,
    },
  }) as const satisfies object

/** What a request says of the client, for its session. */
export const deviceOf = (request: Request): Device => ({
  userAgent: request.headers.get('user-agent') ?? undefined,
  address: addressOf(request),
  requestId: (request as { requestId?: string }).requestId,
})
