import { defineModule } from '@/core/module'
import { user } from '@/modules/user'
import { userExportBiz } from './biz'
import { userExportController } from './controller'
import { exportUsers, removeExport, userExportChunks, userExports } from './schema'
import { userExportChunkStore, userExportStore } from './store'
import { userExportTasks } from './tasks'

export const userExport = defineModule({
  name: 'user-export',
  needs: ['db', 'clock', 'log', 'queue'],
  uses: { user },
  tables: [userExports, userExportChunks],
  tasks: [exportUsers, removeExport],
  create(ports, { user: users }) {
    const biz = userExportBiz({ ...ports, users, exports: userExportStore, chunks: userExportChunkStore })
    return { biz, faces: { admin: userExportController(biz), tasks: userExportTasks(biz) } }
  },
})
export type { UserExportBiz } from './biz'
