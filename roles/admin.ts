import { defineRole } from '@/core/role'
import { account } from '@/modules/account'
import { adminSession } from '@/modules/admin-session'
import { apiKey } from '@/modules/api-key'
import { schedule } from '@/modules/schedule'
import { userExport } from '@/modules/user-export'

export const admin = defineRole({
  name: 'admin',
  summary: 'Serves the administrative HTTP API.',
  modules: [adminSession, account, apiKey, userExport, schedule],
  serves: ['admin'],
})
