import { afterAll, beforeAll, beforeEach } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import { systemClock } from '@/core/clock'
import type { SqlRow } from '@/core/database'
import { defineTask } from '@/core/queue/task'
import type { ScheduleAdmin, ScheduleDefinition } from '@/core/schedule/admin'
import { Type } from '@/core/schema'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase, openConfiguredRedis } from '@/infra/ports'
import { type OpenQueue, openQueue } from '@/infra/queue/open'
import { createScheduleAdmin, type ScheduleAdminOptions } from '@/infra/schedule/admin'
import { createHistory, type ScheduleHistory } from '@/infra/schedule/history'
import { createScheduleRows, type ScheduleRows } from '@/infra/schedule/rows'
import { migrations } from '@/migrations'
import type { Backing } from './backings'
import { type FakeClock, fakeClock } from './fake-clock'
import { type FakeLog, fakeLog, fakeMetrics } from './fakes'

export const report = defineTask('report.send', Type.Object({ to: Type.String(), copies: Type.Optional(Type.Integer({ minimum: 1 })) }))
export const sweep = defineTask('house.sweep', Type.Object({}), { keepForMs: 3_600_000 })

/** What is wrong with nothing; a name of its own each time. */
export const newDefinition = (over: Partial<ScheduleDefinition> = {}): ScheduleDefinition => ({
  ...{ name: `report-${++count}`, cron: '0 3 * * *', task: report.name, payload: { to: 'Ada' } },
  ...over,
})
let count = 0

/**
 * What none of the fields of a schedule may be, also together with whatever else is right.
 * @param payloads of the task of the schedule
 */
export function badFields(payloads: readonly unknown[]): [field: string, value: unknown][] {
  const tooMany = `${'1,'.repeat(120)}1 * * * *`
  const values: Record<string, readonly unknown[]> = {
    name: ['', 'Nightly', '1st', 'a'.repeat(65), 'a b', 'ä', 7, null],
    cron: ['', 'x', '61 * * * *', '* * *', '* * * * * * *', '0 0 31 2 *', '@reboot', tooMany, 7, null, ['* * * * *']],
    timeZone: ['', 'Europe/Berln', '+25:00', 'x'.repeat(65), 7, {}],
    task: ['', 'report.sent', 'REPORT.SEND', 7],
    payload: payloads,
    overlap: ['', 'Skip', 'never', 7],
    catchUp: ['', 'every', 7, [], {}, { all: 1, more: 2 }, ...[0, 1001, 1.5, '3'].map(all => ({ all }))],
    catchUpWindowMs: [0, -1, 1.5, 31_536_000_001, '1d'],
    jitterMs: [-1, 0.5, 3_600_001, '30s'],
    timezone: ['Europe/Berlin'],
  }
  return Object.entries(values).flatMap(([field, some]) => some.map((value): [string, unknown] => [field, value]))
}

interface ScheduleScene {
  db: OpenDatabase
  queue: OpenQueue
  admin: ScheduleAdmin
  /** What it was made of. */
  options: ScheduleAdminOptions
  rows: ScheduleRows
  history: ScheduleHistory
  clock: FakeClock
  log: FakeLog
  /** How often whoever fires was told. */
  rung: number
}

/** What operators do with schedules, on a database of its own with a queue, and a clock that a test moves. Empty before each test. */
export function useSchedules(open: () => Promise<Backing>) {
  const scene = {} as ScheduleScene
  let close = async () => {}
  beforeAll(async () => {
    const backing = await open()
    const { config } = loadConfig({ env: backing.options.env ?? {}, flags: {}, readFile: () => '' })
    const [log, clock, tasks] = [fakeLog(), fakeClock(), [report, sweep]]
    const tools = { log, metrics: fakeMetrics() }
    const db = await openConfiguredDatabase(config, tools)
    await migrateUp(db, migrations)
    const redis = await openConfiguredRedis(config, log)
    // Of the process itself none of the tasks is: what schedules name is worked elsewhere.
    const queue = await openQueue(config, { db, redis, ...tools, clock: systemClock, tasks: [], queues: ['default'] })
    const [rows, history] = [createScheduleRows(db), createHistory(db)]
    const options: ScheduleAdminOptions = {
      ...{ db, rows, history, tasks, log, payloadMaxBytes: config.queue.payloadMaxBytes, queue: queue.enqueuing(tasks) },
      now: async () => clock.nowMs(),
      changed: () => void scene.rung++,
    }
    Object.assign(scene, { db, queue, admin: createScheduleAdmin(options), options, rows, history, clock, log, rung: 0 })
    close = async () => {
      await queue.close()
      await db.close()
      await redis?.close()
      await backing.dispose()
    }
  }, 30_000)
  afterAll(() => close())
  beforeEach(async () => {
    for (const table of ['schedule', 'scheduleTick']) await scene.db.run(`delete from "${table}"`)
    Object.assign(scene.log.lines, { length: 0 })
    scene.rung = 0
  })
  return {
    scene,
    /** All that is kept of schedules, for before and after. */
    kept: async (): Promise<SqlRow[][]> =>
      Promise.all([scene.db.all('select * from "schedule" order by "id"'), scene.db.all('select * from "scheduleTick" order by "tickMs"')]),
    /** All that is enqueued, or left for that. */
    tasks: (): Promise<SqlRow[]> =>
      scene.db.all(
        scene.db.dialect.name === 'sqlite' ? 'select "id" from "queueTask" order by 1' : 'select "taskId" as "id" from "outbox" order by 1',
      ),
    /** What was refused, in short. */
    refused: (work: Promise<unknown>): Promise<string> =>
      work.then(
        () => 'done',
        thrown => (thrown as { code?: string }).code ?? String(thrown),
      ),
  }
}
