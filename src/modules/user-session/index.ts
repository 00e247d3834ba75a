import { defineModule } from '@/core/module'
import { session } from '@/modules/session'
import { user } from '@/modules/user'
import { userSessionBiz } from './biz'
import { userSessionController } from './controller'

export const userSession = defineModule({
  name: 'user-session',
  needs: ['log', 'throttle'],
  uses: { user, session },
  create(ports, { user: users, session: sessions }) {
    const biz = userSessionBiz({ ...ports, users, sessions })
    return { biz, faces: { api: userSessionController(biz), identifiers: { api: biz.identifier, rpc: biz.identifier } } }
  },
})
