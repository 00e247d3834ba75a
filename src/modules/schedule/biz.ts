import { askedBy, type Asking } from '@/core/asking'
import type { Ports } from '@/core/ports'
import { refuseByHand } from '@/core/queue/by-hand'
import { type ScheduleDefinition, scheduleErrors, type ScheduleView } from '@/core/schedule/admin'
import { auditedSchedules, type ScheduleAuditLog } from '@/core/schedule/audited'
import { scheduleDefaults } from '@/core/schedule/schedule'
import type { PageQuery } from '@/core/schema'
import { type Expected, parsePageSize, storeErrors } from '@/core/store'
import { AppError } from '@/core/error'
import { mergePatch } from '@/core/merge-patch'
import type { NewSchedule, NextTicks, Run, Schedule, SchedulePage, SchedulePatch, TickPage } from './schema'

export type ScheduleBiz = ReturnType<typeof scheduleBiz>

/** How often a change is tried again when others change the same schedule at the same time. */
const attemptsMax = 5

/**
 * What administrators do with schedules. The port decides what may be; here a request becomes what it takes, and what was done is logged, and
 * written down for good in the transaction that does it.
 */
export function scheduleBiz({
  schedules,
  log,
  queueAdmin,
  audit,
}: Pick<Ports, 'schedules' | 'log'> & {
  queueAdmin: Pick<Ports['queueAdmin'], 'tasks'>
  audit: ScheduleAuditLog
}) {
  const acting = (asking: Asking) => auditedSchedules(schedules, { audit, by: askedBy(asking) })

  async function list(page: PageQuery): Promise<SchedulePage> {
    const { items, nextPageToken = '' } = await schedules.list(sized(page))
    return { items, nextPageToken }
  }

  const get = (which: string): Promise<Schedule> => schedules.get(which)

  const preview = async (definition: NewSchedule, count?: number): Promise<NextTicks> => ({
    next: await schedules.preview(definition, count),
  })

  async function create(definition: NewSchedule, asking: Asking): Promise<Schedule> {
    refuseByHand(asking.identity, definition.task, queueAdmin.tasks)
    return logged('made', await acting(asking).create(definition), asking)
  }

  /** @param expected the versions that the caller has seen */
  async function change(which: string, patch: SchedulePatch, expected: Expected, asking: Asking): Promise<Schedule> {
    for (let attempt = 1; ; attempt++) {
      const seen = await seenBy(which, expected)
      const said = patched(seen, patch)
      refuseByHand(asking.identity, said.task, queueAdmin.tasks)
      try {
        return logged('changed', await acting(asking).update(seen.id, said, seen.version), asking)
      } catch (thrown) {
        // Somebody was faster. Who has said what it must be is told by the next look.
        if (!isChanged(thrown) || attempt === attemptsMax) throw thrown
      }
    }
  }

  async function remove(which: string, expected: Expected, asking: Asking): Promise<void> {
    const seen = await seenBy(which, expected)
    await acting(asking).remove(seen.id, expected.versions && seen.version)
    logged('deleted', seen, asking)
  }

  async function pause(which: string, asking: Asking): Promise<Schedule> {
    return logged('paused', await acting(asking).pause(which), asking)
  }

  async function resume(which: string, asking: Asking): Promise<Schedule> {
    return logged('resumed', await acting(asking).resume(which), asking)
  }

  async function run(which: string, asking: Asking): Promise<Run> {
    const { origin, task } = await schedules.get(which)
    // What code has declared does with the payload of its author what it does at its ticks.
    const isOwn = queueAdmin.tasks.some(({ name, byHand }) => name === task && byHand === 'never' && origin === 'code')
    if (!isOwn) refuseByHand(asking.identity, task, queueAdmin.tasks)
    const { taskId } = await acting(asking).run(which)
    log.info('a schedule was run by hand', { ...askedBy(asking), schedule: which, taskId })
    return { taskId }
  }

  async function ticks(which: string, page: PageQuery): Promise<TickPage> {
    const { items, nextPageToken = '' } = await schedules.history(which, sized(page))
    return { items, nextPageToken }
  }

  async function seenBy(which: string, { versions }: Expected): Promise<ScheduleView> {
    const seen = await schedules.get(which)
    if (versions && !versions.includes(seen.version)) throw storeErrors.VersionMismatch()
    return seen
  }

  function logged(what: string, schedule: ScheduleView, asking: Asking): ScheduleView {
    const { name, id, version } = schedule
    log.info(`a schedule was ${what}`, { ...askedBy(asking), schedule: name, id, version })
    return schedule
  }

  return { list, get, preview, create, change, remove, pause, resume, run, ticks }
}

/** A page of the API has no more, as everywhere; the port would give 1000. */
const sized = ({ pageSize, pageToken }: PageQuery) => ({
  pageSize: parsePageSize(pageSize),
  ...(pageToken && { pageToken }),
})

const isChanged = (thrown: unknown) => thrown instanceof AppError && thrown.code === scheduleErrors.ScheduleChanged().code

/** What a schedule is once a patch is merged into what can be said of it; what is taken back is as when nothing was said. */
function patched(seen: ScheduleView, patch: SchedulePatch): ScheduleDefinition {
  const { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs } = seen
  const definition = { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs }
  return { ...scheduleDefaults, payload: {}, ...(mergePatch(definition, patch) as ScheduleDefinition) }
}
