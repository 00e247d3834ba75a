import { defineRole } from '@/core/role'
import { schedule } from '@/modules/schedule'
import { userExport } from '@/modules/user-export'

export const admin = defineRole({
  name: 'admin',
  summary: 'Serves the administrative HTTP API, on 127.0.0.1.',
  modules: [userExport, schedule],
  serves: ['admin'],
})
