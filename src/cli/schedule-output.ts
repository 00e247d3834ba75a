import type { ScheduleView, TickView } from '@/core/schedule/admin'
import type { CatchUp } from '@/core/schedule/schedule'
import { printable } from '@/core/printable'

/** How schedules are shown to people. Programs get JSON. */

/** A schedule on each line. */
export const scheduleTable = (schedules: readonly ScheduleView[]): string[] =>
  table(
    ['name', 'task', 'cron', 'time zone', 'next', 'missed', ''],
    schedules.map(({ name, task, cron, timeZone, next, missed, isPaused, origin }) => [
      ...[name, task, cron, timeZone, next[0] ?? '–', String(missed)],
      [...(isPaused ? ['paused'] : []), ...(origin === 'code' ? ['in code'] : [])].join(', '),
    ]),
  )

/** All that is known of one, a line for each, and when it comes next. */
export function scheduleBlock({ next, payload, catchUp, lastTick, ...schedule }: ScheduleView): string {
  const values: [string, unknown][] = [
    ...Object.entries(schedule),
    ['catchUp', catchUpText(catchUp)],
    ['payload', JSON.stringify(payload)],
    ['lastTick', lastTick ?? '–'],
  ]
  const width = Math.max(...values.map(([name]) => name.length))
  return [
    ...values.map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}`),
    ...(schedule.isPaused ? ['next  none while it is paused'] : nextLines(next, schedule.timeZone)),
  ].join('\n')
}

const catchUpText = (catchUp: CatchUp) => (typeof catchUp === 'string' ? catchUp : `all:${catchUp.all}`)

/** Each tick in UTC, and as a clock on the wall of its zone has it. */
export function nextLines(next: readonly string[], timeZone = 'UTC'): string[] {
  if (next.length === 0) return ['next  never']
  const wall = new Intl.DateTimeFormat('en-GB', {
    ...{ timeZone, weekday: 'short', year: 'numeric', month: '2-digit', day: '2-digit' },
    ...{ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'shortOffset' },
  })
  return next.map((tick, i) => `${i === 0 ? 'next' : '    '}  ${tick}  ${wallTime(wall, tick)}  ${printable(timeZone)}`)
}

function wallTime(wall: Intl.DateTimeFormat, tick: string): string {
  const of = Object.fromEntries(wall.formatToParts(Date.parse(tick)).map(({ type, value }) => [type, value]))
  return `${of['weekday']} ${of['year']}-${of['month']}-${of['day']} ${of['hour']}:${of['minute']}:${of['second']} ${of['timeZoneName']}`
}

/** What became of a tick on each line. */
export const tickTable = (ticks: readonly TickView[]): string[] =>
  table(
    ['tick', 'what', 'count', 'late', 'task', 'ended'],
    ticks.map(({ tick, what, count, lateMs, taskId = '–', outcome = '–' }) => [
      ...[tick, what, String(count), lateText(lateMs), taskId, outcome],
    ]),
  )

function lateText(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60_000).toFixed(1)} min`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return []
  const printed = [head, ...rows.map(row => row.map(printable))]
  const widths = head.map((_, i) => Math.max(...printed.map(row => row[i]?.length ?? 0)))
  return printed.map(row =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
