import { handle, type TaskHandler } from '@/core/queue/task'
import type { UserBiz } from './biz'
import { sendEmail } from './schema'

export const userTasks = (biz: UserBiz): TaskHandler[] => [
  handle(sendEmail, ({ userId, purpose }, { id }) => biz.sendMessage(userId, purpose, id)),
]
