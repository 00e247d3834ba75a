import { defineRole } from '@/core/role'
import { account } from '@/modules/account'
import { housekeeping } from '@/modules/housekeeping'
import { user } from '@/modules/user'
import { userExport } from '@/modules/user-export'

export const scheduler = defineRole({
  name: 'scheduler',
  summary: 'Works the task queue, and enqueues what schedules say.',
  modules: [user, account, userExport, housekeeping],
  serves: [],
  works: { default: { concurrency: 32 }, mail: { concurrency: 8 }, bulk: { concurrency: 2 } },
  firesSchedules: true,
})
