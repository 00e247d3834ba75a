import { defineModule } from '@/core/module'
import { queueAudits } from '@/core/queue/audited'
import { auditEvent } from '@/modules/audit-event'
import { queueBiz } from './biz'
import { queueController } from './controller'

export const queue = defineModule({
  name: 'queue',
  needs: ['queueAdmin', 'log'],
  uses: { auditEvent },
  permissions: [
    { name: 'queues:read', summary: 'See queues, and what is wrong with them' },
    { name: 'queues:write', summary: 'Pause, resume and mend queues' },
  ],
  audits: queueAudits,
  create(ports, { auditEvent: audit }) {
    const biz = queueBiz({ ...ports, audit })
    return { biz, faces: { admin: queueController(biz) } }
  },
})
export type { QueueBiz } from './biz'
