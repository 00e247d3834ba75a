import { defineModule } from '@/core/module'
import { announcement } from '@/modules/announcement'
import { apiKey } from '@/modules/api-key'
import { auditEvent } from '@/modules/audit-event'
import { chatLinkRecord } from '@/modules/chat-link-record'
import { chatUpdate } from '@/modules/chat-update'
import { session } from '@/modules/session'
import { subscription } from '@/modules/subscription'
import { userCode } from '@/modules/user-code'
import { userExport } from '@/modules/user-export'
import { housekeepingBiz } from './biz'
import {
  logAuditHead,
  schedules,
  rotateKeys,
  sweepAnnouncements,
  sweepAnswers,
  sweepApiKeys,
  sweepAuditEvents,
  sweepChatLinkCodes,
  sweepChatUpdates,
  sweepChats,
  sweepCodes,
  sweepExports,
  sweepGuesses,
  sweepHistory,
  sweepOutbox,
  sweepSchedules,
  sweepSessions,
} from './schema'
import { housekeepingTasks } from './tasks'

/** Removes what is of no use any more and nobody else removes, and makes keys in time. What does so by itself, such as the queue with its dead letters, is not here. */
export const housekeeping = defineModule({
  name: 'housekeeping',
  needs: ['clock', 'upkeep', 'tokens'],
  uses: { userExport, session, userCode, apiKey, auditEvent, chatLinkRecord, chatUpdate, subscription, announcement },
  tasks: [
    sweepExports,
    sweepOutbox,
    sweepSchedules,
    sweepHistory,
    sweepSessions,
    sweepAnswers,
    sweepGuesses,
    sweepCodes,
    sweepChatLinkCodes,
    sweepChatUpdates,
    sweepChats,
    sweepApiKeys,
    sweepAuditEvents,
    sweepAnnouncements,
    logAuditHead,
    rotateKeys,
  ],
  create(ports, neighbors) {
    const { userExport: userExports, session: sessions, userCode: userCodes, apiKey: apiKeys, auditEvent: auditEvents } = neighbors
    const { chatLinkRecord: chatLinkRecords, subscription: subscriptions, announcement: announcements, chatUpdate: chatUpdates } = neighbors
    const biz = housekeepingBiz({
      ...ports,
      userExports,
      sessions,
      userCodes,
      apiKeys,
      auditEvents,
      chatLinkRecords,
      chatUpdates,
      subscriptions,
      announcements,
    })
    return { biz, faces: { tasks: housekeepingTasks(biz), schedules } }
  },
})
