import { defineModule } from '@/core/module'
import { apiKey } from '@/modules/api-key'
import { auditEvent } from '@/modules/audit-event'
import { session } from '@/modules/session'
import { userCode } from '@/modules/user-code'
import { userExport } from '@/modules/user-export'
import { housekeepingBiz } from './biz'
import {
  logAuditHead,
  schedules,
  rotateKeys,
  sweepAnswers,
  sweepApiKeys,
  sweepAuditEvents,
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
  uses: { userExport, session, userCode, apiKey, auditEvent },
  tasks: [
    sweepExports,
    sweepOutbox,
    sweepSchedules,
    sweepHistory,
    sweepSessions,
    sweepAnswers,
    sweepGuesses,
    sweepCodes,
    sweepApiKeys,
    sweepAuditEvents,
    logAuditHead,
    rotateKeys,
  ],
  create(ports, { userExport: userExports, session: sessions, userCode: userCodes, apiKey: apiKeys, auditEvent: auditEvents }) {
    const biz = housekeepingBiz({ ...ports, userExports, sessions, userCodes, apiKeys, auditEvents })
    return { biz, faces: { tasks: housekeepingTasks(biz), schedules } }
  },
})
