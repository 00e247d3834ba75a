import { Input } from '@/core/schema'
import { defineTask } from '@/core/queue/task'
import { defineSchedule } from '@/core/schedule/schedule'

/** Of no hurry, and never long: what takes longer is done in several slices. By hand their schedules are run, not they. */
const rules = { queue: 'bulk', priority: 6, timeoutMs: 300_000, byHand: 'never' } as const
const Nothing = Input({})

export const sweepExports = defineTask('housekeeping.sweepExports', Nothing, rules)
export const sweepOutbox = defineTask('housekeeping.sweepOutbox', Nothing, rules)
export const sweepSchedules = defineTask('housekeeping.sweepSchedules', Nothing, rules)
export const sweepHistory = defineTask('housekeeping.sweepHistory', Nothing, rules)
export const sweepAnswers = defineTask('housekeeping.sweepAnswers', Nothing, rules)
export const sweepGuesses = defineTask('housekeeping.sweepGuesses', Nothing, rules)

export const sweepSessions = defineTask('housekeeping.sweepSessions', Nothing, rules)
export const sweepCodes = defineTask('housekeeping.sweepCodes', Nothing, rules)
export const sweepApiKeys = defineTask('housekeeping.sweepApiKeys', Nothing, rules)
export const sweepChatLinkCodes = defineTask('housekeeping.sweepChatLinkCodes', Nothing, rules)
export const sweepChats = defineTask('housekeeping.sweepChats', Nothing, rules)
export const sweepChatUpdates = defineTask('housekeeping.sweepChatUpdates', Nothing, rules)
export const sweepAuditEvents = defineTask('housekeeping.sweepAuditEvents', Nothing, rules)
export const sweepAnnouncements = defineTask('housekeeping.sweepAnnouncements', Nothing, rules)
export const logAuditHead = defineTask('housekeeping.logAuditHead', Nothing, { ...rules, timeoutMs: 60_000 })
export const rotateKeys = defineTask('housekeeping.rotateKeys', Nothing, { ...rules, timeoutMs: 60_000 })

/** At night where most of those live who use UTC, one after another, and each of them once however many processes fire. */
const nightly = (minute: number, hour = 3) => ({ cron: `${minute} ${hour} * * *`, jitterMs: 60_000 })

export const schedules = [
  defineSchedule('housekeeping.keys', rotateKeys, {}, nightly(7)),
  defineSchedule('housekeeping.exports', sweepExports, {}, nightly(17)),
  defineSchedule('housekeeping.outbox', sweepOutbox, {}, nightly(27)),
  defineSchedule('housekeeping.schedules', sweepSchedules, {}, nightly(37)),
  defineSchedule('housekeeping.history', sweepHistory, {}, nightly(47)),
  defineSchedule('housekeeping.sessions', sweepSessions, {}, nightly(57)),
  defineSchedule('housekeeping.answers', sweepAnswers, {}, nightly(7, 4)),
  defineSchedule('housekeeping.codes', sweepCodes, {}, nightly(17, 4)),
  defineSchedule('housekeeping.guesses', sweepGuesses, {}, nightly(27, 4)),
  defineSchedule('housekeeping.api-keys', sweepApiKeys, {}, nightly(37, 4)),
  defineSchedule('housekeeping.audit', sweepAuditEvents, {}, nightly(47, 4)),
  defineSchedule('housekeeping.announcements', sweepAnnouncements, {}, nightly(57, 4)),
  defineSchedule('housekeeping.chat-link-codes', sweepChatLinkCodes, {}, nightly(37, 5)),
  defineSchedule('housekeeping.chats', sweepChats, {}, nightly(47, 5)),
  defineSchedule('housekeeping.chat-updates', sweepChatUpdates, {}, nightly(57, 5)),
  // As often as somebody may set back the database unseen.
  defineSchedule('housekeeping.audit-head', logAuditHead, {}, { cron: '27 * * * *', jitterMs: 60_000 }),
]
