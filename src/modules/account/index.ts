import { defineModule } from '@/core/module'
import { apiKey } from '@/modules/api-key'
import { auditEvent } from '@/modules/audit-event'
import { session } from '@/modules/session'
import { user } from '@/modules/user'
import { userCode } from '@/modules/user-code'
import { accountAdminController } from './admin.controller'
import { audits, accountBiz } from './biz'
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
  uses: { user, userCode, session, apiKey, auditEvent },
  tasks: [startReset],
  permissions: [
    { name: 'users:read', summary: 'See users' },
    { name: 'users:create', summary: 'Make accounts for others, who choose their passwords' },
    { name: 'users:suspend', summary: 'Suspend users, and restore them' },
    { name: 'users:reset', summary: 'End the sessions of users, and have them sent a code to choose another password' },
  ],
  audits,
  create(ports, { user: users, userCode: codes, session: sessions, apiKey: keys, auditEvent: audit }) {
    const biz = accountBiz({ ...ports, users, codes, sessions, keys, audit })
    return { biz, faces: { api: accountController(biz), admin: accountAdminController(biz), tasks: accountTasks(biz) } }
  },
})
