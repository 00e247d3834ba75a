import { defineModule } from '@/core/module'
import { auditEvent } from '@/modules/audit-event'
import { user } from '@/modules/user'
import { audits, userExportBiz } from './biz'
import { userExportController } from './controller'
import { exportUsers, removeExport, userExportChunks, userExports } from './schema'
import { userExportChunkStore, userExportStore } from './store'
import { userExportTasks } from './tasks'

export const userExport = defineModule({
  name: 'user-export',
  needs: ['db', 'clock', 'log', 'queue'],
  uses: { user, auditEvent },
  tables: [userExports, userExportChunks],
  tasks: [exportUsers, removeExport],
  permissions: [{ name: 'users:export', summary: 'Export all users as a file' }],
  audits,
  create(ports, { user: users, auditEvent: audit }) {
    const biz = userExportBiz({ ...ports, users, exports: userExportStore, chunks: userExportChunkStore, audit })
    return { biz, faces: { admin: userExportController(biz), tasks: userExportTasks(biz) } }
  },
})
export type { UserExportBiz } from './biz'
