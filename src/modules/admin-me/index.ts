import { defineModule } from '@/core/module'
import { adminSession } from '@/modules/admin-session'
import { administrator } from '@/modules/administrator'
import { auditEvent } from '@/modules/audit-event'
import { secondFactor } from '@/modules/second-factor'
import { audits, adminMeBiz } from './biz'
import { adminMeController } from './controller'

/** What administrators do with their own account: look at it, change the password, set up a second factor. */
export const adminMe = defineModule({
  name: 'admin-me',
  needs: ['db', 'log'],
  uses: { administrator, secondFactor, adminSession, auditEvent },
  audits,
  create(ports, { administrator: administrators, secondFactor: factors, adminSession: sessions, auditEvent: audit }) {
    const biz = adminMeBiz({ ...ports, administrators, invitations: administrators.invitations, factors, sessions, audit })
    return { biz, faces: { admin: adminMeController(biz) } }
  },
})
