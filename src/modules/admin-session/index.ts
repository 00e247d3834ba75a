import { defineModule } from '@/core/module'
import { administrator } from '@/modules/administrator'
import { auditEvent } from '@/modules/audit-event'
import { secondFactor } from '@/modules/second-factor'
import { session } from '@/modules/session'
import { adminSessionBiz, sessionAudits } from './biz'
import { adminSessionController } from './controller'

export const adminSession = defineModule({
  name: 'admin-session',
  needs: ['db', 'log', 'throttle', 'settings'],
  uses: { administrator, secondFactor, session, auditEvent },
  audits: sessionAudits,
  create(ports, { administrator: administrators, secondFactor: factors, session: sessions, auditEvent: audit }) {
    const biz = adminSessionBiz({ ...ports, administrators, factors, sessions, audit })
    return { biz, faces: { admin: adminSessionController(biz), identifiers: { admin: biz.identifier } } }
  },
})
export type { AdminSessionBiz } from './biz'
export { AdminPassword } from './schema'
