import { defineModule } from '@/core/module'
import { taskAudits } from '@/core/queue/audited'
import { auditEvent } from '@/modules/audit-event'
import { taskBiz } from './biz'
import { taskController } from './controller'

export const task = defineModule({
  name: 'task',
  needs: ['queueAdmin', 'log'],
  uses: { auditEvent },
  permissions: [
    { name: 'tasks:read', summary: 'See tasks, what they are about, and what they have failed of' },
    { name: 'tasks:write', summary: 'Enqueue, retry, cancel, move and delete tasks' },
  ],
  audits: taskAudits,
  create(ports, { auditEvent: audit }) {
    const biz = taskBiz({ ...ports, audit })
    return { biz, faces: { admin: taskController(biz) } }
  },
})
export type { TaskBiz } from './biz'
