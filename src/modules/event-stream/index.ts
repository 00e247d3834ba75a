import { defineModule } from '@/core/module'
import { eventStreamBiz } from './biz'
import { eventStreamController } from './controller'

/** The permissions that its topics need are those of the modules queue, schedule and system. */
export const eventStream = defineModule({
  name: 'event-stream',
  needs: ['queueAdmin', 'schedules', 'processes', 'stopping', 'log', 'metrics'],
  create(ports) {
    const biz = eventStreamBiz(ports)
    return { biz, faces: { admin: eventStreamController(biz) } }
  },
})
export type { EventStreamBiz } from './biz'
