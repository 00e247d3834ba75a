import { handle, type TaskHandler } from '@/core/queue/task'
import type { UserBiz } from './biz'
import { sendEmail } from './schema'

export const userTasks = (biz: UserBiz): TaskHandler[] => [handle(sendEmail, (message, context) => biz.sendMessage(message, context))]
