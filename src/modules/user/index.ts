import { defineModule } from '@/core/module'
import { userCode } from '@/modules/user-code'
import { userBiz } from './biz'
import { userController } from './controller'
import { sendEmail, userMessages, users } from './schema'
import { userMessageStore, userStore } from './store'
import { userTasks } from './tasks'

export const user = defineModule({
  name: 'user',
  needs: ['db', 'clock', 'log', 'passwords', 'queue', 'mailer', 'cipher', 'throttle', 'settings'],
  uses: { userCode },
  tables: [users, userMessages],
  tasks: [sendEmail],
  create(ports, { userCode: codes }) {
    const biz = userBiz({ ...ports, users: userStore, sent: userMessageStore, codes })
    return { biz, faces: { api: userController(biz), tasks: userTasks(biz) } }
  },
})
export type { Confirmed, Proven, UserBiz } from './biz'
export { Account, CurrentPassword, EmailInput, NewPassword, sendEmail, Status, User } from './schema'
