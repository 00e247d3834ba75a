import { defineModule } from '@/core/module'
import { userBiz } from './biz'
import { userController } from './controller'
import { sendEmail, users } from './schema'
import { userStore } from './store'
import { userTasks } from './tasks'

export const user = defineModule({
  name: 'user',
  needs: ['db', 'passwords', 'queue', 'mailer'],
  tables: [users],
  tasks: [sendEmail],
  create(ports) {
    const biz = userBiz({ ...ports, users: userStore })
    return { biz, faces: { api: userController(biz), tasks: userTasks(biz) } }
  },
})
export type { UserBiz } from './biz'
