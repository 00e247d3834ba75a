import { everyone, user } from '@/core/access'
import { userOf } from '@/core/controller'
import { deviceOf, sessionController } from '@/modules/session'
import type { UserSessionBiz } from './biz'
import { LoggedIn, LogIn } from './schema'

export const userSessionController = (biz: UserSessionBiz) =>
  sessionController({
    biz,
    access: [user()],
    callerOf: userOf,
    logIn: routes =>
      routes.post(
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
          fails: ['Unauthenticated', 'PermissionDenied'],
          detail: { operationId: 'logIn', summary: 'Log in' },
        },
      ),
  })
