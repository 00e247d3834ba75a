import { handle, type TaskHandler } from '@/core/queue/task'
import type { UserExportBiz } from './biz'
import { exportUsers, removeExport } from './schema'

export const userExportTasks = (biz: UserExportBiz): TaskHandler[] => [
  handle(exportUsers, (payload, context) => biz.make(payload, context)),
  handle(removeExport, ({ exportId }) => biz.expire(exportId)),
]
