import { defineRole } from '@/core/role'

export const bot = defineRole({
  name: 'bot',
  summary: 'Answers on chat platforms.',
  modules: [],
  serves: ['bot'],
})
