import { defineModule } from '@/core/module'
import { administrator } from '@/modules/administrator'
import { auditEvent } from '@/modules/audit-event'
import { chatLinkRecord } from '@/modules/chat-link-record'
import { secondFactor } from '@/modules/second-factor'
import { session } from '@/modules/session'
import { user } from '@/modules/user'
import { audits, chatLinkBiz } from './biz'
import { chatLinkCommands } from './commands'
import { adminChatLinkController, chatLinkController } from './controller'
import { chatIdentity } from './identity.biz'

/** Who is behind a chat account, and how it comes to be linked. The rows are of the module chat-link-record, which knows no accounts. */
export const chatLink = defineModule({
  name: 'chat-link',
  needs: ['db', 'clock', 'log', 'throttle', 'settings'],
  uses: { chatLinkRecord, user, administrator, secondFactor, session, auditEvent },
  audits,
  create(ports, neighbors) {
    const { chatLinkRecord: chatLinkRecords, user: users, administrator: administrators, secondFactor: factors } = neighbors
    const biz = chatLinkBiz({ ...ports, chatLinkRecords, users, administrators, sessions: neighbors.session, audit: neighbors.auditEvent })
    return {
      biz: { ...biz, identify: chatIdentity({ ...ports, chatLinkRecords, users, administrators, factors }) },
      faces: { api: chatLinkController(biz), admin: adminChatLinkController(biz), commands: chatLinkCommands(biz) },
    }
  },
})
export type { ChatLinkBiz } from './biz'
export { refusalIn } from './identity.biz'
