import { defineRole } from '@/core/role'
import { user } from '@/modules/user'

export const scheduler = defineRole({
  name: 'scheduler',
  summary: 'Works the task queue.',
  modules: [user],
  serves: [],
  works: { default: { concurrency: 32 }, mail: { concurrency: 8 } },
})
