import { exitCodes, StartError } from '@/core/error'
import { scheduleErrors, type ScheduleView, type TickView } from '@/core/schedule/admin'
import { answered, explained, type ScheduleRun } from './schedule-definition'
import { changed } from './schedule-change'
import { nextLines, scheduleBlock, scheduleTable, tickTable } from './schedule-output'
import { count, isJsonOf } from './task-run'

/** What `bingo schedule` shows. */

const limitDefault = 50
const pageSize = 500
export const previewMax = 1000

interface Page<T> {
  items: T[]
  nextPageToken?: string
}

/** As many as were asked for, and whether there are more. */
async function upTo<T>(limit: number, ask: (options: { pageSize: number; pageToken?: string }) => Promise<Page<T>>) {
  const items: T[] = []
  let token: string | undefined
  do {
    const page = await ask({ pageSize: Math.min(limit - items.length, pageSize), ...(token !== undefined && { pageToken: token }) })
    items.push(...page.items)
    token = page.nextPageToken
  } while (token !== undefined && items.length < limit)
  return { items, isMore: token !== undefined }
}

const limitOf = ({ args }: ScheduleRun) => (args.flags['limit'] === undefined ? limitDefault : count(args, 'limit', 1))

export async function list(run: ScheduleRun): Promise<number> {
  const limit = limitOf(run)
  return shown<ScheduleView>(run, await upTo(limit, options => run.schedules.list(options)), scheduleTable, 'schedules')
}

export async function ticks(run: ScheduleRun): Promise<number> {
  const {
    schedules,
    rest: [which = ''],
  } = run
  const limit = limitOf(run)
  const found = await answered(
    which,
    upTo(limit, options => schedules.history(which, options)),
  )
  return shown<TickView>(run, found, tickTable, 'ticks')
}

function shown<T>(
  run: ScheduleRun,
  found: { items: T[]; isMore: boolean },
  table: (items: readonly T[]) => string[],
  what: string,
): number {
  const { items, isMore } = found
  for (const line of isJsonOf(run.args) ? items.map(each => JSON.stringify(each)) : table(items)) console.log(line)
  if (items.length === 0) console.error('bingo: there are none')
  if (isMore) console.error(`bingo: there are more ${what}; --limit=${limitOf(run) * 10} shows more`)
  return exitCodes.ok
}

export async function show({ args, rest: [which = ''], schedules }: ScheduleRun): Promise<number> {
  const schedule = await answered(which, schedules.get(which))
  console.log(isJsonOf(args) ? JSON.stringify(schedule) : scheduleBlock(schedule))
  return exitCodes.ok
}

/** Of one that is there, as it would be with what flags say; else of a new one. */
export async function preview(run: ScheduleRun): Promise<number> {
  const {
    args,
    rest: [which = ''],
    said,
    schedules,
  } = run
  const number = args.flags['count'] === undefined ? undefined : count(args, 'count', 1, previewMax)
  const { seen, definition } = await changed(run)
  if (!seen && (said.cron === undefined || said.task === undefined))
    throw new StartError(`${explained(which, scheduleErrors.ScheduleNotFound())} Of a new one say --cron and --task.`)
  const next = await answered(which, schedules.preview(definition, number), said.name)
  if (isJsonOf(args)) console.log(JSON.stringify({ next }))
  else for (const line of nextLines(next, definition.timeZone)) console.log(line)
  return exitCodes.ok
}
