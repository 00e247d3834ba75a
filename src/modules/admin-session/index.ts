import { defineModule } from '@/core/module'
import { administrator } from '@/modules/administrator'
import { session } from '@/modules/session'
import { adminSessionBiz } from './biz'
import { adminSessionController } from './controller'

export const adminSession = defineModule({
  name: 'admin-session',
  needs: ['log', 'throttle'],
  uses: { administrator, session },
  create(ports, { administrator: administrators, session: sessions }) {
    const biz = adminSessionBiz({ ...ports, administrators, sessions })
    return { biz, faces: { admin: adminSessionController(biz), identifiers: { admin: biz.identifier } } }
  },
})
