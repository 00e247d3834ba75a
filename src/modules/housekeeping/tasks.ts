import { handle, type TaskHandler } from '@/core/queue/task'
import type { HousekeepingBiz } from './biz'
import {
  logAuditHead,
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

export const housekeepingTasks = (biz: HousekeepingBiz): TaskHandler[] => [
  handle(sweepExports, (_, context) => biz.sweepExports(context)),
  handle(sweepOutbox, (_, context) => biz.sweepOutbox(context)),
  handle(sweepSchedules, (_, context) => biz.sweepSchedules(context)),
  handle(sweepHistory, (_, context) => biz.sweepHistory(context)),
  handle(sweepSessions, (_, context) => biz.sweepSessions(context)),
  handle(sweepCodes, (_, context) => biz.sweepCodes(context)),
  handle(sweepApiKeys, (_, context) => biz.sweepApiKeys(context)),
  handle(sweepChatLinkCodes, (_, context) => biz.sweepChatLinkCodes(context)),
  handle(sweepChatUpdates, (_, context) => biz.sweepChatUpdates(context)),
  handle(sweepChats, (_, context) => biz.sweepChats(context)),
  handle(sweepAuditEvents, (_, context) => biz.sweepAuditEvents(context)),
  handle(sweepAnnouncements, (_, context) => biz.sweepAnnouncements(context)),
  handle(logAuditHead, () => biz.logAuditHead()),
  handle(rotateKeys, () => biz.rotateKeys()),
  handle(sweepAnswers, (_, context) => biz.sweepAnswers(context)),
  handle(sweepGuesses, (_, context) => biz.sweepGuesses(context)),
]
