import { defineModule } from '@/core/module'
import { scheduleBiz } from './biz'
import { scheduleController } from './controller'

export const schedule = defineModule({
  name: 'schedule',
  needs: ['schedules', 'log'],
  create(ports) {
    const biz = scheduleBiz(ports)
    return { biz, faces: { admin: scheduleController(biz) } }
  },
})
export type { ScheduleBiz } from './biz'
