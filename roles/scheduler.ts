import { defineRole } from '@/core/role'

export const scheduler = defineRole({
  name: 'scheduler',
  summary: 'Fires schedules and works the task queue.',
  modules: [],
  serves: [],
  works: { default: { concurrency: 32 }, mail: { concurrency: 8 } },
})
