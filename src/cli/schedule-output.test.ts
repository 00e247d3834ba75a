import { expect, test } from 'bun:test'
import type { ScheduleView } from '@/core/schedule/admin'
import { nextLines, scheduleBlock, scheduleTable, tickTable } from './schedule-output'

const nightly: ScheduleView = {
  ...{ id: '01890a5d-ac96-774b-bcce-b302099a8057', name: 'users.nightly', origin: 'code', cron: '30 2 * * *', timeZone: 'Europe/Berlin' },
  ...{ task: 'user.export', payload: { format: 'csv\u001b[2J' }, overlap: 'skip', catchUp: { all: 3 }, catchUpWindowMs: 1000, jitterMs: 0 },
  ...{ isPaused: false, next: ['2026-03-28T01:30:00.000Z', '2026-03-29T01:00:00.000Z'], lastTick: '2026-03-27T01:30:00.000Z', missed: 2 },
  ...{ createdAt: '2026-01-31T09:05:00.000Z', updatedAt: '2026-01-31T09:05:00.000Z', version: 3 },
}

test('ticks are shown in UTC and as the clocks of the zone have them, also when those change', () => {
  expect(nextLines(nightly.next, 'Europe/Berlin')).toEqual([
    'next  2026-03-28T01:30:00.000Z  Sat 2026-03-28 02:30:00 GMT+1  Europe/Berlin',
    '      2026-03-29T01:00:00.000Z  Sun 2026-03-29 03:00:00 GMT+2  Europe/Berlin',
  ])
  expect(nextLines(['2026-03-28T00:00:00.000Z'])).toEqual(['next  2026-03-28T00:00:00.000Z  Sat 2026-03-28 00:00:00 GMT+0  UTC'])
  expect(nextLines([], 'UTC')).toEqual(['next  never'])
})

test('schedules are a table, and one a block, without what a terminal would obey', () => {
  const other: ScheduleView = { ...nightly, name: 'x', isPaused: true, next: [], origin: 'database' }
  expect(scheduleTable([nightly, { ...other, cron: '\u001b[2J' }])).toEqual([
    'name           task         cron        time zone      next                      missed',
    'users.nightly  user.export  30 2 * * *  Europe/Berlin  2026-03-28T01:30:00.000Z  2       in code',
    'x              user.export  \\u001b[2J   Europe/Berlin  –                         2       paused',
  ])
  expect(scheduleTable([])).toEqual([])
  const lines = scheduleBlock(nightly).split('\n')
  for (const line of ['catchUp          all:3', 'payload          {"format":"csv\\u001b[2J"}', 'lastTick         2026-03-27T01:30:00.000Z'])
    expect(lines).toContain(line)
  expect(lines.filter(line => line.includes('Europe/Berlin'))).toHaveLength(3)
  expect(scheduleBlock(other)).toEndWith('next  none while it is paused')
})

test('ticks are a table with how late they were, and how their tasks ended', () => {
  const at = '2026-03-28T01:30:00.012Z'
  expect(
    tickTable([
      { tick: '2026-03-28T01:30:00.000Z', what: 'fired', count: 1, at, lateMs: 12, taskId: 'schedule:a:1', outcome: 'done' },
      { tick: '2026-03-27T01:30:00.000Z', what: 'missed', count: 1000, at, lateMs: 86_400_012 },
    ]),
  ).toEqual([
    'tick                      what    count  late        task          ended',
    '2026-03-28T01:30:00.000Z  fired   1      12 ms       schedule:a:1  done',
    '2026-03-27T01:30:00.000Z  missed  1000   1440.0 min  –             –',
  ])
})
