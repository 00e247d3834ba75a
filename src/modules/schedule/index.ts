import { defineModule } from '@/core/module'
import { scheduleAudits } from '@/core/schedule/audited'
import { auditEvent } from '@/modules/audit-event'
import { scheduleBiz } from './biz'
import { scheduleController } from './controller'

export const schedule = defineModule({
  name: 'schedule',
  needs: ['schedules', 'queueAdmin', 'log'],
  uses: { auditEvent },
  permissions: [
    { name: 'schedules:read', summary: 'See schedules' },
    { name: 'schedules:write', summary: 'Make, change, pause, run and delete schedules' },
  ],
  audits: scheduleAudits,
  create(ports, { auditEvent: audit }) {
    const biz = scheduleBiz({ ...ports, audit })
    return { biz, faces: { admin: scheduleController(biz) } }
  },
})
export type { ScheduleBiz } from './biz'
