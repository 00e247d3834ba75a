import { defineRole } from '@/core/role'
import { userExport } from '@/modules/user-export'

export const admin = defineRole({
  name: 'admin',
  summary: 'Serves the administrative HTTP API, on 127.0.0.1.',
  modules: [userExport],
  serves: ['admin'],
})
