import { defineModule } from '@/core/module'
import { chatUpdateBiz } from './biz'
import { chatUpdates } from './schema'
import { chatUpdateStore } from './store'

/** What has come in from chat platforms, and how far it is. */
export const chatUpdate = defineModule({
  name: 'chat-update',
  needs: ['db', 'clock', 'cipher'],
  tables: [chatUpdates],
  create(ports) {
    return { biz: chatUpdateBiz({ ...ports, updates: chatUpdateStore }), faces: {} }
  },
})
export { type ChatUpdate, type ChatUpdateBiz, nameOf, type Said } from './biz'
export { chatUpdateErrors } from './schema'
