import { defineModule } from '@/core/module'
import { userExport } from '@/modules/user-export'
import { housekeepingBiz } from './biz'
import { nightlySweeps, sweepExports, sweepHistory, sweepOutbox, sweepSchedules } from './schema'
import { housekeepingTasks } from './tasks'

/** Removes what is of no use any more and nobody else removes. What does so by itself, such as the queue with its dead letters, is not here. */
export const housekeeping = defineModule({
  name: 'housekeeping',
  needs: ['clock', 'upkeep'],
  uses: { userExport },
  tasks: [sweepExports, sweepOutbox, sweepSchedules, sweepHistory],
  create(ports, { userExport: userExports }) {
    const biz = housekeepingBiz({ ...ports, userExports })
    return { biz, faces: { tasks: housekeepingTasks(biz), schedules: nightlySweeps } }
  },
})
