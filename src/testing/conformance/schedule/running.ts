import { expect, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import { createScheduleClock } from '@/infra/schedule/clock'
import { createDueRows } from '@/infra/schedule/due'
import type { Backing } from '../../backings'
import { until } from '../cache-fixture'
import { type Process, report, useScene } from './fixture'

/** The loop of a process that fires, by the real clock of the database. */
export function runningSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  const each = { cron: '* * * * * *', overlap: 'allow' } as const
  const clockOf = (process: Process) => createScheduleClock(process.db, systemClock)
  /** A schedule whose ticks begin with the next second of the database. */
  async function add(process: Process, over: Parameters<typeof scene.add>[0] = {}): Promise<string> {
    const clock = clockOf(process)
    await clock.sync()
    scene.clock.set(new Date(clock.nowMs()).toISOString())
    return scene.add({ ...each, ...over })
  }
  const fired = async (id: string) => (await scene.history(id)).filter(({ what }) => what === 'fired')

  test('each tick is fired as soon as it has come, once, though two run, and nothing when they have stopped', async () => {
    const other = await scene.open()
    const schedulers = [scene.one, other].map(process => process.scheduler([], clockOf(process)))
    const id = await add(scene.one)
    for (const scheduler of schedulers) await scheduler.start()
    await until(async () => (await fired(id)).length >= 5, 15_000)
    await Promise.all(schedulers.map(scheduler => scheduler.stop()))
    const ticks = await scene.history(id)
    const first = ticks[0]?.tickMs ?? 0
    expect(ticks.map(({ tickMs }) => tickMs)).toEqual(ticks.map((_, i) => first + i * 1000))
    expect((await scene.accepted()).toSorted()).toEqual(ticks.map(({ taskId }) => taskId ?? ''))
    // Far below the second that it takes by looking, on a machine with other work.
    expect(ticks.map(({ lateMs }) => lateMs).toSorted((a, b) => a - b)[Math.floor(ticks.length / 2)]).toBeLessThan(300)
    for (const process of [scene.one, other]) expect(process.warnings()).toEqual([])
    await Bun.sleep(1500)
    expect(await scene.history(id)).toEqual(ticks)
    for (const scheduler of schedulers) await scheduler.stop()
    await other[Symbol.asyncDispose]()
  }, 30_000)

  test('what another process has made is seen within two seconds, and what this one has at once', async () => {
    const scheduler = scene.one.scheduler([], clockOf(scene.one))
    await scheduler.start()
    await Bun.sleep(100)
    const id = await add(scene.one)
    const madeMs = performance.now()
    await until(async () => (await fired(id)).length > 0)
    expect(performance.now() - madeMs).toBeLessThan(2500)
    await scene.db.run('delete from "schedule"')
    const waits: number[] = []
    for (let i = 0; i < 5; i++) {
      const ago = new Date(Date.now() - 5000)
      const once = { cron: `${ago.getUTCSeconds()} ${ago.getUTCMinutes()} * * * *`, cursorMs: ago.getTime() - 10_000 }
      const due = await scene.add({ ...each, ...once })
      const beganMs = performance.now()
      scheduler.wake()
      await until(async () => (await fired(due)).length > 0)
      waits.push(performance.now() - beganMs)
    }
    expect(waits.toSorted((a, b) => a - b)[2]).toBeLessThan(500)
    await scheduler.stop()
  }, 30_000)

  test('stops at once while it waits, also before it has begun and twice, and finishes what it has begun', async () => {
    const scheduler = scene.one.scheduler([], clockOf(scene.one))
    await scheduler.stop()
    const other = scene.one.scheduler([], clockOf(scene.one))
    await other.start()
    const id = await add(scene.one)
    await until(async () => (await fired(id)).length > 0)
    const beganMs = performance.now()
    await Promise.all([other.stop(), other.stop()])
    expect(performance.now() - beganMs).toBeLessThan(2000)
    const row = await scene.row(id)
    expect((await scene.history(id)).at(-1)?.tickMs).toBe(row.cursorMs)
    await other.stop()
  })

  test('shows how many are due', async () => {
    const nowMs = scene.clock.nowMs()
    const due = (nextAtMs: number) => ({ cron: '0 0 1 1 *', nextAtMs })
    await scene.add({ ...due(nowMs - 1), isPaused: true })
    for (const more of [due(nowMs - 1), due(nowMs), due(nowMs + 1)]) await scene.add(more)
    expect(await createDueRows(scene.db, [report.name]).count(nowMs)).toBe(2)
    const scheduler = scene.one.scheduler([])
    await scheduler.start()
    await until(() => scene.one.metrics.gaugeOf('bingo_schedule_due') !== undefined)
    await scheduler.stop()
    expect(scene.one.metrics.gaugeOf('bingo_schedule_due')).toBe(undefined)
  })
}
