import { defineRole } from '@/core/role'
import { user } from '@/modules/user'
import { userExport } from '@/modules/user-export'

export const scheduler = defineRole({
  name: 'scheduler',
  summary: 'Works the task queue.',
  modules: [user, userExport],
  serves: [],
  works: { default: { concurrency: 32 }, mail: { concurrency: 8 }, bulk: { concurrency: 2 } },
})
