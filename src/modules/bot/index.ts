import { defineModule } from '@/core/module'
import { auditEvent } from '@/modules/audit-event'
import { chatLink, refusalIn } from '@/modules/chat-link'
import { chatUpdate } from '@/modules/chat-update'
import { subscription } from '@/modules/subscription'
import { botBiz } from './biz'
import { botCommands } from './commands'
import { botController } from './controller'
import { audits } from './run.biz'
import { workUpdate } from './schema'
import { botTasks } from './tasks'

/** What comes in from chat platforms: stored, worked at in the order of each chat, answered. */
export const bot = defineModule({
  name: 'bot',
  needs: ['db', 'clock', 'log', 'metrics', 'queue', 'chat', 'commands', 'processes'],
  uses: { chatUpdate, chatLink, subscription, auditEvent },
  tasks: [workUpdate],
  audits,
  create(ports, { chatUpdate: updates, chatLink: links, subscription: subscriptions, auditEvent: audit }) {
    const biz = botBiz({
      ...ports,
      updates,
      audit,
      identify: links.identify,
      refusalIn,
      left: subscriptions.left,
      moved: subscriptions.moved,
    })
    return {
      biz,
      faces: { bot: botController(ports.chat, biz), chat: biz.receiver, commands: botCommands(biz), tasks: botTasks(biz) },
    }
  },
})
