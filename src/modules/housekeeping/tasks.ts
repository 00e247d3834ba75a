import { handle, type TaskHandler } from '@/core/queue/task'
import type { HousekeepingBiz } from './biz'
import { sweepExports, sweepHistory, sweepOutbox, sweepSchedules } from './schema'

export const housekeepingTasks = (biz: HousekeepingBiz): TaskHandler[] => [
  handle(sweepExports, (_, context) => biz.sweepExports(context)),
  handle(sweepOutbox, (_, context) => biz.sweepOutbox(context)),
  handle(sweepSchedules, (_, context) => biz.sweepSchedules(context)),
  handle(sweepHistory, (_, context) => biz.sweepHistory(context)),
]
