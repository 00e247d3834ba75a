import { defineModule } from '@/core/module'
import { chatLinkRecord } from '@/modules/chat-link-record'
import { sessionBiz } from './biz'
import { sessions } from './schema'
import { sessionStore } from './store'

/** What a log-in becomes, for the accounts of any module: it knows none of them, and is reached through those that do. */
export const session = defineModule({
  name: 'session',
  needs: ['db', 'clock', 'log', 'tokens', 'revocations', 'settings'],
  uses: { chatLinkRecord },
  tables: [sessions],
  create(ports, { chatLinkRecord: chatLinkRecords }) {
    return { biz: sessionBiz({ ...ports, sessions: sessionStore, chatLinkRecords }), faces: {} }
  },
})
export type { Device, Opened, SessionBiz, Verified } from './biz'
export { deviceOf, refreshing, sessionController } from './controller'
export { realmSessions, type Witness } from './realm.biz'
export { Refresh, sessionErrors, SessionTokens } from './schema'
