import { defineModule } from '@/core/module'
import { userBiz } from './biz'
import { userController } from './controller'
import { users } from './schema'
import { userStore } from './store'

export const user = defineModule({
  name: 'user',
  needs: ['db', 'passwords'],
  tables: [users],
  create(ports) {
    const biz = userBiz({ ...ports, users: userStore })
    return { biz, faces: { api: userController(biz) } }
  },
})
export type { UserBiz } from './biz'
