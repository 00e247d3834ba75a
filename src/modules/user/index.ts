import { defineModule } from '@/core/module'
import { userCode } from '@/modules/user-code'
import { userBiz } from './biz'
import { userController } from './controller'
import { sendEmail, userMessages, users } from './schema'
import { userMessageStore, userStore } from './store'
import { userTasks } from './tasks'
import { userWatch } from './watch.biz'

export const user = defineModule({
  name: 'user',
  needs: ['db', 'clock', 'log', 'passwords', 'queue', 'mailer', 'cipher', 'throttle', 'settings', 'liveSettings', 'metrics', 'stopping'],
  uses: { userCode },
  tables: [users, userMessages],
  tasks: [sendEmail],
  permissions: [
    { name: 'users:write', summary: 'Change users, by the API key of a service' },
    { name: 'users:delete', summary: 'Delete users, also by the API key of a service' },
  ],
  create(ports, { userCode: codes }) {
    const biz = userBiz({ ...ports, users: userStore, sent: userMessageStore, codes })
    const watch = userWatch({ ...ports, users: userStore })
    const rpc = () => import('./rpc').then(({ userRpc }) => userRpc(biz, watch))
    return { biz, faces: { api: userController(biz), rpc: [rpc], tasks: userTasks(biz) } }
  },
})
export type { AccountQuery } from './admin.biz'
export type { Confirmed, Proven, UserBiz } from './biz'
export { Account, CurrentPassword, EmailInput, NewPassword, NewUser, sendEmail, Status, User, userErrors } from './schema'
