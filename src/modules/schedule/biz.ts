import type { Ports } from '@/core/ports'
import { type ScheduleDefinition, scheduleErrors, type ScheduleView } from '@/core/schedule/admin'
import { scheduleDefaults } from '@/core/schedule/schedule'
import type { PageQuery } from '@/core/schema'
import { type Expected, storeErrors } from '@/core/store'
import { AppError } from '@/core/error'
import { mergePatch } from './merge-patch'
import type { NewSchedule, NextTicks, Run, Schedule, SchedulePage, SchedulePatch, TickPage } from './schema'

export type ScheduleBiz = ReturnType<typeof scheduleBiz>

/** A page of the API has no more, as everywhere; the port would give 1000. */
const pageSizeMax = 100
const pageSizeDefault = 20
/** How often a change is tried again when others change the same schedule at the same time. */
const attemptsMax = 5

/** What administrators do with schedules. The port decides what may be; here a request becomes what it takes, and what was done is logged. */
export function scheduleBiz({ schedules, log }: Pick<Ports, 'schedules' | 'log'>) {
  async function list(page: PageQuery): Promise<SchedulePage> {
    const { items, nextPageToken = '' } = await schedules.list(sized(page))
    return { items, nextPageToken }
  }

  const get = (which: string): Promise<Schedule> => schedules.get(which)

  const preview = async (definition: NewSchedule, count?: number): Promise<NextTicks> => ({
    next: await schedules.preview(definition, count),
  })

  async function create(definition: NewSchedule): Promise<Schedule> {
    return noted('made', await schedules.create(definition))
  }

  /** @param expected the versions that the caller has seen */
  async function change(which: string, patch: SchedulePatch, expected: Expected): Promise<Schedule> {
    for (let attempt = 1; ; attempt++) {
      const seen = await seenBy(which, expected)
      try {
        return noted('changed', await schedules.update(seen.id, patched(seen, patch), seen.version))
      } catch (thrown) {
        // Somebody was faster. Who has said what it must be is told by the next look.
        if (!isChanged(thrown) || attempt === attemptsMax) throw thrown
      }
    }
  }

  async function remove(which: string, expected: Expected): Promise<void> {
    const seen = await seenBy(which, expected)
    await schedules.remove(seen.id, expected.versions && seen.version)
    noted('deleted', seen)
  }

  const pause = async (which: string): Promise<Schedule> => noted('paused', await schedules.pause(which))
  const resume = async (which: string): Promise<Schedule> => noted('resumed', await schedules.resume(which))

  async function run(which: string): Promise<Run> {
    const { taskId } = await schedules.run(which)
    log.info('a schedule was run by hand', { schedule: which, taskId })
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

  function noted(what: string, schedule: ScheduleView): ScheduleView {
    log.info(`a schedule was ${what}`, { schedule: schedule.name, id: schedule.id, version: schedule.version })
    return schedule
  }

  return { list, get, preview, create, change, remove, pause, resume, run, ticks }
}

const sized = ({ pageSize, pageToken }: PageQuery) => ({
  pageSize: pageSize === undefined || pageSize === 0 ? pageSizeDefault : Math.min(pageSize, pageSizeMax),
  ...(pageToken && { pageToken }),
})

const isChanged = (thrown: unknown) => thrown instanceof AppError && thrown.code === scheduleErrors.ScheduleChanged().code

/** What a schedule is once a patch is merged into what can be said of it; what is taken back is as when nothing was said. */
function patched(seen: ScheduleView, patch: SchedulePatch): ScheduleDefinition {
  const { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs } = seen
  const said = { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs }
  return { ...scheduleDefaults, payload: {}, ...(mergePatch(said, patch) as ScheduleDefinition) }
}
