import { admin, everyone } from '@/core/access'
import { adminOf } from '@/core/controller'
import { deviceOf, sessionController } from '@/modules/session'
import type { AdminSessionBiz } from './biz'
import { LoggedIn, LogIn } from './schema'

export const adminSessionController = (biz: AdminSessionBiz) =>
  sessionController({
    biz,
    access: [admin()],
    callerOf: adminOf,
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
          fails: ['Unauthenticated', 'PermissionDenied', 'ResourceExhausted'],
          detail: { operationId: 'logIn', summary: 'Log in' },
        },
      ),
  })
