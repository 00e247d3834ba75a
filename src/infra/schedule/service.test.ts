import { afterAll, beforeAll, expect, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import { defineSchedule } from '@/core/schedule/schedule'
import { type Backing, onEachBacking, onEachServer } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { movedClock, openProcess, openScene, report } from '@/testing/conformance/schedule/fixture'
import { runningSuite } from '@/testing/conformance/schedule/running'
import { createTestDatabase, type OwnServer, startOwn } from '@/testing/servers'
import type { BackingName } from '@/testing/backings'
import type { DatabaseName } from '@/testing/installations'
import { createScheduleClock } from './clock'

onEachBacking('a scheduler', runningSuite)

onEachServer('a scheduler whose servers go away', (open, name: BackingName) => {
  let backing: Backing
  let database: OwnServer
  let redis: OwnServer
  beforeAll(async () => {
    backing = await open()
    database = await startOwn(name as DatabaseName)
    redis = await startOwn('redis')
  }, 90_000)
  afterAll(async () => {
    await backing.dispose()
    await database.stop()
    await redis.stop()
  })
  const own = async (): Promise<Backing> => {
    const { url } = await createTestDatabase(database)
    const env = { ...backing.options.env, BINGO_DATABASE_URL: url, BINGO_REDIS_URL: redis.url, BINGO_REDIS_PREFIX: `own-${Date.now()}` }
    return { url, options: { env }, dispose: async () => {} }
  }

  test('fires what was due when the database is back, each tick once, and says once that it was away', async () => {
    const place = await own()
    const scene = await openScene(place)
    const { one } = scene
    const clock = createScheduleClock(one.db, systemClock)
    const schedule = defineSchedule('each-second', report, { to: 'Ada' }, { cron: '* * * * * *', overlap: 'allow' })
    const scheduler = one.scheduler([schedule], clock)
    await scheduler.start()
    const idOf = async () => String((await one.db.first('select "id" from "schedule"', [], { from: 'primary' }))?.['id'])
    await until(async () => (await scene.accepted()).length >= 2, 15_000)
    await database.kill()
    await until(() => one.warnings().length > 0, 20_000)
    await Bun.sleep(3000)
    await database.start()
    await until(() => one.log.lines.some(({ message }) => message === 'schedules are fired again'), 30_000)
    const back = (await scene.accepted()).length
    await until(async () => (await scene.accepted()).length >= back + 2, 15_000)
    await scheduler.stop()
    expect(one.warnings()).toEqual(['schedules cannot be fired; what is due waits'])
    const id = await idOf()
    const ticks = await scene.history(id)
    const first = ticks[0]?.tickMs ?? 0
    expect(ticks.map(({ tickMs, what }) => [tickMs, what])).toEqual(ticks.map((_, i) => [first + i * 1000, 'fired']))
    expect((await scene.accepted()).toSorted()).toEqual(ticks.map(({ taskId }) => taskId ?? ''))
    await one[Symbol.asyncDispose]()
  }, 120_000)

  test('goes on without Redis with what asks for nothing there, and with the rest when it is back', async () => {
    const place = await own()
    const scene = await openScene(place)
    const clock = movedClock()
    const process = await openProcess(place, clock)
    const [allow, skip] = [await scene.add({ overlap: 'allow' }), await scene.add({ overlap: 'skip' })]
    clock.move(60_000)
    await process.fire()
    // Of the second it is not known whether it has ended: it was handed over.
    await scene.db.run('delete from "outbox"')
    await redis.kill()
    clock.move(60_000)
    await process.fire()
    expect([await scene.told(allow), await scene.told(skip)]).toEqual([['09:06:00 fired', '09:07:00 fired'], ['09:06:00 fired']])
    expect(process.warnings()).toEqual(['the queue does not say which tasks of schedules have ended; ticks that have to know wait'])
    await redis.start()
    await until(async () => {
      // It is not asked again at once, and the clock must not run away meanwhile.
      await Bun.sleep(100)
      clock.move(1000)
      await process.fire()
      return (await scene.told(skip)).length === 2
    }, 20_000)
    expect((await scene.told(skip)).at(-1)).toBe('09:07:00 fired')
    expect(process.log.lines.map(({ message }) => message)).toContain('the queue says again which tasks of schedules have ended')
    await process[Symbol.asyncDispose]()
    await scene.one[Symbol.asyncDispose]()
  }, 60_000)
})
