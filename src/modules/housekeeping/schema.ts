import { Input } from '@/core/schema'
import { defineTask } from '@/core/queue/task'
import { defineSchedule } from '@/core/schedule/schedule'

/** Of no hurry, and never long: what takes longer is done in several slices. */
const rules = { queue: 'bulk', priority: 6, timeoutMs: 300_000 } as const
const Nothing = Input({})

export const sweepExports = defineTask('housekeeping.sweepExports', Nothing, rules)
export const sweepOutbox = defineTask('housekeeping.sweepOutbox', Nothing, rules)
export const sweepSchedules = defineTask('housekeeping.sweepSchedules', Nothing, rules)
export const sweepHistory = defineTask('housekeeping.sweepHistory', Nothing, rules)

/** At night where most of those live who use UTC, one after another, and each of them once however many processes fire. */
const nightly = (minute: number) => ({ cron: `${minute} 3 * * *`, jitterMs: 60_000 })

export const nightlySweeps = [
  defineSchedule('housekeeping.exports', sweepExports, {}, nightly(17)),
  defineSchedule('housekeeping.outbox', sweepOutbox, {}, nightly(27)),
  defineSchedule('housekeeping.schedules', sweepSchedules, {}, nightly(37)),
  defineSchedule('housekeeping.history', sweepHistory, {}, nightly(47)),
]
