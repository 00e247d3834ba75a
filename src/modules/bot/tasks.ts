import { handle, type TaskHandler } from '@/core/queue/task'
import type { BotBiz } from './biz'
import { workUpdate } from './schema'

export const botTasks = (biz: BotBiz): TaskHandler[] => [handle(workUpdate, biz.work)]
