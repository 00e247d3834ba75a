import { defineRole } from '@/core/role'
import { account } from '@/modules/account'
import { adminMe } from '@/modules/admin-me'
import { administration } from '@/modules/administration'
import { adminSession } from '@/modules/admin-session'
import { announcement } from '@/modules/announcement'
import { apiKey } from '@/modules/api-key'
import { auditEvent } from '@/modules/audit-event'
import { chatLink } from '@/modules/chat-link'
import { eventStream } from '@/modules/event-stream'
import { queue } from '@/modules/queue'
import { schedule } from '@/modules/schedule'
import { system } from '@/modules/system'
import { setting } from '@/modules/setting'
import { subscription } from '@/modules/subscription'
import { task } from '@/modules/task'
import { userExport } from '@/modules/user-export'

export const admin = defineRole({
  name: 'admin',
  summary: 'Serves the administrative HTTP API.',
  modules: [
    adminSession,
    adminMe,
    chatLink,
    administration,
    account,
    apiKey,
    userExport,
    schedule,
    queue,
    task,
    setting,
    auditEvent,
    subscription,
    announcement,
    system,
    eventStream,
  ],
  serves: ['admin'],
})
