import { handle, type TaskHandler } from '@/core/queue/task'
import type { AccountBiz } from './biz'
import { startReset } from './schema'

export const accountTasks = (biz: AccountBiz): TaskHandler[] => [handle(startReset, payload => biz.beginReset(payload))]
