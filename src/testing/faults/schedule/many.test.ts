import { expect } from 'bun:test'
import { scheduleDefaults } from '@/core/schedule/schedule'
import { createScheduleRows } from '@/infra/schedule/rows'
import { type BackingName, testOn } from '../../backings'
import { until } from '../../conformance/cache-fixture'
import { isFull } from '../scene'
import { openScheduleScene, type ScheduleScene } from './scene'

const count = 10_000
const schedulers = 2
/** On a machine that does nothing else. In the ordinary run others run beside it. */
const lateMaxMs = isFull ? 5000 : 20_000
/** For those who fire to have seen them. */
const aheadMs = 3000
const limitMs = 60_000
const backings: readonly BackingName[] = isFull ? ['sqlite', 'mariadb', 'mysql'] : ['mariadb']

for (const name of backings) {
  testOn(
    name === 'sqlite' ? [] : [name, 'redis'],
    `Ten thousand schedules that are due in the same second have their tasks within five seconds, on ${name}`,
    async () => {
      await using scene = await openScheduleScene(name)
      const exportId = Bun.randomUUIDv7()
      await insertMany(scene, exportId)
      await Promise.all(Array.from({ length: schedulers }, scene.start))
      const tickMs = Math.ceil((Date.now() + aheadMs) / 1000) * 1000
      await makeDue(scene, tickMs)
      expect(Date.now()).toBeLessThan(tickMs)
      await until(async () => (await scene.witness.tasks()).length >= count, limitMs)
      const tasks = await scene.witness.tasks()
      expect(new Set(tasks.map(({ id }) => id)).size).toBe(count)
      expect(tasks).toHaveLength(count)
      const late = tasks.map(({ atMs }) => atMs - tickMs).toSorted((a, b) => a - b)
      const allMs = late.at(-1) ?? Number.NaN
      await scene.settled(limitMs)
      console.log(
        `${name}: ${count} schedules due at once, half of the tasks enqueued after ${late[count / 2]} ms, all after ${allMs} ms, all done after ${Date.now() - tickMs} ms`,
      )
      expect((await scene.stats()).total).toMatchObject({ enqueued: count, done: count })
      expect(await scene.stop()).toEqual(Array(schedulers).fill(0))
      expect(late[0]).toBeGreaterThanOrEqual(0)
      expect(allMs).toBeLessThanOrEqual(lateMaxMs)
    },
    180_000,
  )
}

/** Each once a year, and far from now, until `makeDue`. */
async function insertMany({ db }: ScheduleScene, exportId: string): Promise<void> {
  const rows = createScheduleRows(db)
  const nowMs = Date.now()
  const rules = { ...scheduleDefaults, cron: '@yearly' }
  const shared = { origin: 'database', task: 'user.removeExport', payload: { exportId }, isPaused: false, declaredAtMs: null } as const
  for (let i = 0; i < count; i += 1000)
    await db.tx(async tx => {
      for (let j = i; j < i + 1000; j++)
        await rows.insert({ ...rules, ...shared, name: `many.${j}`, cursorMs: nowMs, nextAtMs: nowMs + 86_400_000 }, nowMs, tx)
    })
}

/** By one statement, since through the admin functions it would take longer than until then. */
async function makeDue({ db }: ScheduleScene, tickMs: number): Promise<void> {
  const at = new Date(tickMs)
  const cron = `${at.getUTCSeconds()} ${at.getUTCMinutes()} ${at.getUTCHours()} * * *`
  await db.run(`update "schedule" set "cron" = ?, "nextAtMs" = ?, "version" = "version" + 1 where "name" like 'many.%'`, [cron, tickMs])
}
