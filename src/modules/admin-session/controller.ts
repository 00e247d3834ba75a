import { admin, everyone } from '@/core/access'
import { askingOf } from '@/core/asking'
import { adminOf } from '@/core/controller'
import { AppError } from '@/core/error'
import { Type } from '@/core/schema'
import { cookieOf, hasCookies, keptCookies, refuseForeign, removedCookies, sessionCookies } from '@/core/session-cookies'
import { deviceOf, Refresh, refreshing, sessionController, sessionErrors } from '@/modules/session'
import type { AdminSessionBiz } from './biz'
import { adminSessionErrors, KeptTokens, LoggedIn, LogIn, Proof, Proven } from './schema'

type Headers = Record<string, unknown>
type Tokens = Awaited<ReturnType<AdminSessionBiz['refresh']>>

/** Sessions of administrators: of programs, which keep the tokens themselves, and of browsers, which have them in cookies. */
export const adminSessionController = (biz: AdminSessionBiz) =>
  sessionController({
    biz,
    access: [admin()],
    callerOf: adminOf,
    logIn: routes =>
      routes
        .post(
          '',
          async ({ body, set, request }) => {
            if (body.transport === 'cookie') refuseForeign(request)
            const { tokens, administrator } = await biz.logIn(body, deviceOf(request))
            set.status = 201
            return { ...given(tokens, body.transport, set.headers), administrator }
          },
          {
            body: LogIn,
            parse: 'json',
            response: { 201: LoggedIn },
            givesSecrets: true,
            access: [everyone()],
            limit: 'credentials',
            fails: ['Unauthenticated', 'PermissionDenied', 'ResourceExhausted'],
            sets: ['Set-Cookie'],
            detail: {
              operationId: 'logIn',
              summary: 'Log in',
              description:
                'With `transport: cookie` the tokens are in `Set-Cookie` and not in the body. That is for pages of this origin: such a request, and every later one with the cookies that changes something, needs `Sec-Fetch-Site: same-origin`, or from browsers that do not send it an `Origin` that is that of `Host`; else it is answered 403 `PermissionDenied.CrossOrigin`. Programs leave it out, and send `Authorization: Bearer`.',
            },
          },
        )
        .post('/current/proof', ({ body, request }) => biz.prove(adminOf(request), body, askingOf(request)), {
          body: Proof,
          parse: 'json',
          response: { 200: Proven },
          access: [admin()],
          limit: 'credentials',
          fails: ['Unprocessable', 'NotFound', 'ResourceExhausted'],
          detail: {
            operationId: 'proveSession',
            summary: 'Prove who you are again (step-up)',
            description:
              'Dangerous operations need a proof that is not older than the setting admin.provenMs; logging in is one. Without it they are answered 401 with error="insufficient_user_authentication" (RFC 9470).',
          },
        }),
    refresh: routes =>
      routes.post(
        '/refresh',
        async ({ body, set, request }) => {
          if (body?.refreshToken !== undefined) return biz.refresh(body.refreshToken, deviceOf(request))
          const refreshToken = cookieOf(request.headers, sessionCookies.refresh)
          if (refreshToken === undefined) throw adminSessionErrors.CookieOnly()
          refuseForeign(request)
          try {
            return given(await biz.refresh(refreshToken, deviceOf(request)), 'cookie', set.headers)
          } catch (thrown) {
            // Of whatever else goes wrong they are as good as they were.
            if (isOver(thrown)) set.headers['set-cookie'] = removedCookies()
            throw thrown
          }
        },
        {
          ...refreshing(' Without a body it is read from the cookie, and the next ones are in cookies, too.'),
          body: Type.Optional(Refresh),
          response: { 200: KeptTokens },
          sets: ['Set-Cookie'],
        },
      ),
    loggedOut(request, headers) {
      if (hasCookies(request)) headers['set-cookie'] = removedCookies()
    },
  })

const isOver = (thrown: unknown): boolean => thrown instanceof AppError && thrown.code === sessionErrors.RefreshTokenInvalid().code

/** Tokens as the client wants them. */
function given(tokens: Tokens, transport: LogIn['transport'], headers: Headers): KeptTokens {
  if (transport !== 'cookie') return tokens
  headers['set-cookie'] = keptCookies(tokens)
  return { expiresInSeconds: tokens.expiresInSeconds }
}
