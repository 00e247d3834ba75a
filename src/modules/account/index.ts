import { defineModule } from '@/core/module'
import { apiKey } from '@/modules/api-key'
import { session } from '@/modules/session'
import { user } from '@/modules/user'
import { userCode } from '@/modules/user-code'
import { accountAdminController } from './admin.controller'
import { accountBiz } from './biz'
import { accountController } from './controller'
import { startReset } from './schema'
import { accountTasks } from './tasks'

/**
 * What somebody does with an account as a whole, their own or as an administrator: passwords, addresses, suspending. The account is the
 * row of the module user; what needs other modules than that one belongs here.
 */
export const account = defineModule({
  name: 'account',
  needs: ['db', 'log', 'queue', 'cipher', 'revocations', 'throttle'],
  uses: { user, userCode, session, apiKey },
  tasks: [startReset],
  create(ports, { user: users, userCode: codes, session: sessions, apiKey: keys }) {
    const biz = accountBiz({ ...ports, users, codes, sessions, keys })
    return { biz, faces: { api: accountController(biz), admin: accountAdminController(biz), tasks: accountTasks(biz) } }
  },
})
