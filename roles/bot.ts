import { defineRole } from '@/core/role'
import { announcement } from '@/modules/announcement'
import { auditEvent } from '@/modules/audit-event'
import { bot as botModule } from '@/modules/bot'
import { chatLink } from '@/modules/chat-link'
import { setting } from '@/modules/setting'
import { subscription } from '@/modules/subscription'
import { system } from '@/modules/system'
import { userLookup } from '@/modules/user-lookup'

export const bot = defineRole({
  name: 'bot',
  summary: 'Answers on chat platforms.',
  modules: [botModule, chatLink, subscription, announcement, system, setting, userLookup, auditEvent],
  serves: ['bot'],
  // Here, since the platforms are known here alone.
  works: { bot: { concurrency: 16, backlogMax: 100_000 }, broadcast: { concurrency: 32 } },
})
