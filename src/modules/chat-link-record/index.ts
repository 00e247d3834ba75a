import { defineModule } from '@/core/module'
import { chatLinkRecordBiz } from './biz'
import { chatLinkCodes, chatLinks } from './schema'
import { chatLinkCodeStore, chatLinkStore } from './store'

/** Whose account a chat account is. It knows no accounts, and is reached through the module chat-link, which does. */
export const chatLinkRecord = defineModule({
  name: 'chat-link-record',
  needs: ['db', 'clock', 'cipher'],
  tables: [chatLinks, chatLinkCodes],
  create(ports) {
    return { biz: chatLinkRecordBiz({ ...ports, links: chatLinkStore, codes: chatLinkCodeStore }), faces: {} }
  },
})
export { type AccountOf, type ChatLinkRecordBiz, isSame, type Linked, type ProvenCode, type SenderOf } from './biz'
export { chatLinkRecordErrors, ChatLink, ChatLinkPage } from './schema'
