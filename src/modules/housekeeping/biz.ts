import type { Ports } from '@/core/ports'
import { snooze, type TaskContext, type TaskResult } from '@/core/queue/task'
import type { AnnouncementBiz } from '@/modules/announcement'
import type { ApiKeyBiz } from '@/modules/api-key'
import type { AuditRetentionBiz } from '@/modules/audit-event'
import type { ChatLinkRecordBiz } from '@/modules/chat-link-record'
import type { ChatUpdateBiz } from '@/modules/chat-update'
import type { SessionBiz } from '@/modules/session'
import type { SubscriptionBiz } from '@/modules/subscription'
import type { UserCodeBiz } from '@/modules/user-code'
import type { UserExportBiz } from '@/modules/user-export'

export type HousekeepingBiz = ReturnType<typeof housekeepingBiz>

/** What it needs to know of the task. */
export type Attempt = Pick<TaskContext, 'signal' | 'log' | 'progress'>

/** Removes up to so many, and says how many: as many as that when there may be more. */
type RemoveSome = (countMax: number) => Promise<number>

/** So many are removed at a time: some milliseconds of the database, and up to a second of each export. */
const batchMax = 100
const exportsMax = 10
/** After so long a sweep gives its place back, and goes on when it is its turn again. */
const sliceMs = 20_000
/** More batches than these are not done in a slice, should they cost no time. */
const batchesMax = 1000

/** What is of no use any more is removed, a little at a time, for as long as there is more. What is done twice by that finds nothing. */
export function housekeepingBiz({
  clock,
  upkeep,
  tokens,
  userExports,
  sessions,
  userCodes,
  apiKeys,
  auditEvents,
  announcements,
  chatLinkRecords,
  chatUpdates,
  subscriptions,
}: Pick<Ports, 'clock' | 'upkeep' | 'tokens'> & {
  userExports: Pick<UserExportBiz, 'removeLeft'>
  sessions: Pick<SessionBiz, 'removeEnded'>
  userCodes: Pick<UserCodeBiz, 'removeExpired'>
  apiKeys: Pick<ApiKeyBiz, 'removeExpired'>
  auditEvents: AuditRetentionBiz
  announcements: Pick<AnnouncementBiz, 'removeOld'>
  chatLinkRecords: Pick<ChatLinkRecordBiz, 'removeExpired'>
  chatUpdates: Pick<ChatUpdateBiz, 'removeOld'>
  subscriptions: Pick<SubscriptionBiz, 'removeEmpty'>
}) {
  const sweep =
    (what: string, removeSome: RemoveSome, countMax = batchMax) =>
    async ({ signal, log, progress }: Attempt): Promise<TaskResult | undefined> => {
      const endMs = clock.nowMs() + sliceMs
      let removed = 0
      for (let batches = 1; ; batches++) {
        signal.throwIfAborted()
        const some = await removeSome(countMax)
        removed += some
        progress({ done: removed })
        const isMore = some >= countMax
        if (isMore && batches < batchesMax && clock.nowMs() < endMs) continue
        if (removed > 0) log.info('removed what was of no use any more', { what, removed, isMore })
        return isMore ? snooze(0) : undefined
      }
    }

  return {
    sweepExports: sweep('exports of users', countMax => userExports.removeLeft(countMax), exportsMax),
    sweepOutbox: sweep('tasks that were given up', countMax => upkeep.removeGivenUp(countMax)),
    sweepSchedules: sweep('schedules that are in no code any more', countMax => upkeep.removeUndeclared(countMax)),
    sweepAnswers: sweep('answers to requests with an Idempotency-Key', countMax => upkeep.removeAnswers(countMax)),
    sweepGuesses: sweep('guesses at passwords and codes', countMax => upkeep.forgetGuesses(countMax)),
    sweepHistory: sweep('history of schedules that nobody fires', countMax => upkeep.cutHistory(countMax)),
    sweepCodes: sweep('codes that have expired', countMax => userCodes.removeExpired(countMax)),
    sweepApiKeys: sweep('API keys that have expired', countMax => apiKeys.removeExpired(countMax)),
    sweepChatLinkCodes: sweep('codes to link chat accounts that have expired', countMax => chatLinkRecords.removeExpired(countMax)),
    sweepChatUpdates: sweep('what has come in from chat platforms', countMax => chatUpdates.removeOld(countMax)),
    sweepChats: sweep('chats that subscribe to nothing any more', countMax => subscriptions.removeEmpty(countMax)),
    sweepSessions: sweep('sessions that have ended', countMax => sessions.removeEnded(countMax)),
    sweepAuditEvents: sweep('events of the audit log', countMax => auditEvents.removeOld(countMax)),
    sweepAnnouncements: sweep('announcements and who had them', countMax => announcements.removeOld(countMax)),
    logAuditHead: () => auditEvents.logHead(),
    rotateKeys: () => tokens.rotate(),
  }
}
