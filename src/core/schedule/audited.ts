import { type Actor, type AuditLog, entryOn } from '../audit'
import type { ScheduleAdmin, ScheduleNote, ScheduleView } from './admin'

/** What is written into the audit log. */
export const scheduleAudits = [
  'schedule.create',
  'schedule.change',
  'schedule.delete',
  'schedule.pause',
  'schedule.resume',
  'schedule.run',
] as const
/** What writes these. */
export type ScheduleAuditLog = Pick<AuditLog<(typeof scheduleAudits)[number]>, 'record'>

/** What somebody does with schedules, written down in the transaction that does it: both are kept, or neither. */
export function auditedSchedules(schedules: ScheduleAdmin, { audit, by }: { audit: ScheduleAuditLog; by: Actor }): ScheduleAdmin {
  const recorded =
    (action: (typeof scheduleAudits)[number]): ScheduleNote =>
    (tx, { id, before, after }) =>
      audit.record(tx, by, { ...entryOn(action, id), ...changed(before, after) })

  return {
    ...schedules,
    create: definition => schedules.create(definition, recorded('schedule.create')),
    update: (which, change, version) => schedules.update(which, change, version, recorded('schedule.change')),
    remove: (which, version) => schedules.remove(which, version, recorded('schedule.delete')),
    pause: which => schedules.pause(which, recorded('schedule.pause')),
    resume: which => schedules.resume(which, recorded('schedule.resume')),
    run: which => schedules.run(which, (tx, { id, ...after }) => audit.record(tx, by, { ...entryOn('schedule.run', id), after })),
  }
}

/** What of it people decide, of all that is known of it. */
const decided = [
  ...(['name', 'cron', 'timeZone', 'task', 'overlap', 'catchUp', 'catchUpWindowMs', 'jitterMs', 'isPaused'] as const),
] as const

/**
 * All of one that comes or goes; of one that stays what is different, with the name that people know it by. Of payloads, which may be personal, only
 * that another is there.
 */
function changed(before?: ScheduleView, after?: ScheduleView): { before?: object; after?: object } {
  const isOther = (field: (typeof decided)[number]) => !before || !after || !Bun.deepEquals(before[field], after[field])
  const auditedFields = (view: ScheduleView) =>
    Object.fromEntries(decided.filter(field => field === 'name' || isOther(field)).map(field => [field, view[field]]))
  const isOfOther = before && after && !Bun.deepEquals(before.payload, after.payload)
  return {
    ...(before && { before: auditedFields(before) }),
    ...(after && { after: { ...auditedFields(after), ...(isOfOther && { payloadChanged: true }) } }),
  }
}
