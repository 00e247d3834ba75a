import { expect, test } from 'bun:test'
import { StartError } from '@/core/error'
import { type AnyModule, buildModules, defineModule, tasksDeclared } from '@/core/module'
import type { Ports } from '@/core/ports'
import { type AnyTask, defineTask, handle } from '@/core/queue/task'
import { defineRole, type Role } from '@/core/role'
import { type AnySchedule, defineSchedule } from '@/core/schedule/schedule'
import { Type } from '@/core/schema'
import { declaredSchedules } from './declared'

const task = defineTask('report.send', Type.Object({ to: Type.String() }))
const daily = defineSchedule('report.daily', task, { to: 'Ada' }, { cron: '0 3 * * *' })

const moduleOf = (name: string, schedules: AnySchedule[], tasks: AnyTask[] = []) =>
  defineModule({
    name,
    needs: [],
    tasks,
    create: () => ({ biz: {}, faces: { schedules, tasks: tasks.map(each => handle(each, async () => {})) } }),
  })
const roleOf = (name: string, modules: AnyModule[], firesSchedules = true): Role =>
  defineRole({ name, summary: '', modules, serves: [], ...(firesSchedules && { firesSchedules }) })

/** What a process of `roles` fires. */
function declared(roles: Role[], allRoles = roles): AnySchedule[] {
  const modules = roles.flatMap(role => role.modules)
  const faces = buildModules(modules, {} as Ports)
  return declaredSchedules({ faces, tasks: tasksDeclared(modules), roles, allRoles, payloadMaxBytes: 100 })
}

const reports = moduleOf('report', [daily], [task])

test('what the modules of a role that fires schedules declare is fired, whoever declares the task', () => {
  const other = defineSchedule('other.hourly', task, { to: 'Eve' }, { cron: '@hourly' })
  expect(declared([roleOf('scheduler', [reports, moduleOf('other', [other])])])).toEqual([daily, other])
  expect(declared([roleOf('scheduler', [moduleOf('none', [])])])).toEqual([])
  const large = defineSchedule('report.large', task, { to: 'x'.repeat(91) }, { cron: '@hourly' })
  expect(declared([roleOf('scheduler', [moduleOf('report', [large], [task])])])).toEqual([large])
})

test('a process that fires none starts with the module all the same, while some role fires it', () => {
  const [api, scheduler] = [roleOf('api', [moduleOf('report', [daily])], false), roleOf('scheduler', [reports])]
  expect(declared([roleOf('api', [reports], false)], [scheduler])).toEqual([daily].slice(1))
  expect(() => declared([api], [api, scheduler])).toThrow('nobody would fire the schedule report.daily of the module report')
})

test('what cannot be is said with the module, the schedule and the remedy', () => {
  const elsewhere = defineTask('report.send', task.schema)
  const odd = (name: string, over: Partial<AnySchedule>) => moduleOf('odd', [{ ...daily, name, ...over }], [])
  const uses = defineModule({ name: 'user', needs: [], uses: { reports }, create: () => ({ biz: {}, faces: {} }) })
  const cases: [Role[], ...string[]][] = [
    [
      [roleOf('scheduler', [reports, moduleOf('twin', [daily])])],
      'the modules report and twin both declare a schedule report.daily',
      'another name',
    ],
    [[roleOf('scheduler', [moduleOf('twice', [daily, daily], [task])])], 'the module twice declares two schedules report.daily'],
    [
      [roleOf('scheduler', [reports, odd('odd.cron', { cron: '61 * * * *' })])],
      'the schedule odd.cron of the module odd cannot be so: cron ',
      'mend it',
    ],
    [[roleOf('scheduler', [reports, odd('odd.zone', { timeZone: 'Europe/Berln' })])], 'odd.zone of the module odd cannot be so: timeZone '],
    [[roleOf('scheduler', [reports, odd('odd.payload', { payload: {} })])], 'odd.payload of the module odd cannot be so: payload'],
    [
      [roleOf('scheduler', [reports, odd('odd.size', { payload: { to: 'x'.repeat(92) } })])],
      'odd.size of the module odd cannot be so: payload is 101 bytes of JSON, and may be 100',
    ],
    [
      [roleOf('scheduler', [moduleOf('report', [daily])])],
      'is of the task report.send, which no module of this process declares: list it in `tasks`',
    ],
    // Of that name there is one, and it is another.
    [
      [roleOf('scheduler', [reports, odd('odd.task', { task: elsewhere })])],
      'odd.task of the module odd is of the task report.send, which no module',
    ],
    [
      [roleOf('api', [reports], false), roleOf('scheduler', [])],
      'nobody would fire the schedule report.daily',
      'add report to the modules of roles/scheduler.ts',
    ],
    [[roleOf('api', [reports], false)], 'nobody would fire the schedule', 'say firesSchedules: true in one that has the module report'],
    // A role fires what its own modules declare, not what those use.
    [
      [roleOf('scheduler', [uses])],
      'nobody would fire the schedule report.daily of the module report',
      'add report to the modules of roles/scheduler.ts',
    ],
  ]
  for (const [roles, ...words] of cases) {
    expect(() => declared(roles)).toThrow(StartError)
    for (const word of words) expect(() => declared(roles)).toThrow(word)
  }
})
