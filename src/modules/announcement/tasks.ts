import { handle, type TaskHandler } from '@/core/queue/task'
import type { AnnouncementBiz } from './biz'
import { deliver, sendAnnouncement } from './schema'

export const announcementTasks = (biz: AnnouncementBiz): TaskHandler[] => [
  handle(sendAnnouncement, ({ announcementId }, context) => biz.send(announcementId, context)),
  handle(deliver, ({ deliveryId }, context) => biz.deliver(deliveryId, context)),
]
