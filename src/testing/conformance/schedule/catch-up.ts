import { expect, test } from 'bun:test'
import type { NewSchedule } from '@/infra/schedule/rows'
import type { Backing } from '../../backings'
import { startAt, useScene } from './fixture'

/** What becomes of ticks that nobody has fired in time: while nothing ran, or since a clock was set. */
export function catchUpSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  const hourly = { cron: '0 * * * *', name: 'hourly' } as const
  const warned = () => scene.one.log.lines.filter(({ level }) => level === 'warn')
  const hours = (from: number, to: number, what: string) =>
    Array.from({ length: to - from + 1 }, (_, i) => `${String((from + i) % 24).padStart(2, '0')}:00:00 ${what}`)

  /** After a day in which nothing ran. @returns what the history tells then */
  async function afterDay(
    over: Partial<NewSchedule>,
    at = '2026-02-01T09:30:00.000Z',
  ): Promise<{ id: string; told: string[]; missed: number }> {
    const id = await scene.add({ ...hourly, ...over })
    scene.clock.set(at)
    await scene.one.fire()
    const row = await scene.row(id)
    const said = Object.fromEntries((await scene.accepted()).map((each, i) => [each, i]))
    expect(await scene.ticksOf(id)).toEqual(
      (await scene.told(id)).filter(each => /fired|caughtUp/.test(each)).map(each => each.slice(0, 8)),
    )
    expect(Object.keys(said)).toHaveLength((await scene.accepted()).length)
    // It goes on with the next tick.
    scene.clock.set('2026-02-01T10:00:00.000Z')
    const told = await scene.told(id)
    await scene.one.fire()
    expect((await scene.told(id)).slice(told.length)).toEqual(['10:00:00 fired'])
    return { id, told, missed: row.missed }
  }

  test('none: nothing is fired, and all of it is counted and said', async () => {
    const missedSoFar = () => scene.one.metrics.count('bingo_schedule_ticks_total', { what: 'missed' })
    const before = missedSoFar()
    const { told, missed } = await afterDay({ catchUp: 'none' })
    expect([told, missed]).toEqual([['10:00:00 missed 24'], 24])
    expect(warned().map(({ message, fields }) => [message, fields])).toEqual([
      [
        'ticks of a schedule were missed',
        { schedule: 'hourly', from: '2026-01-31T10:00:00.000Z', to: '2026-02-01T09:00:00.000Z', count: 24, isMore: false },
      ],
    ])
    expect(missedSoFar() - before).toBe(24)
  })

  test('latest: the newest one is fired, once, though two processes come back at the same time', async () => {
    const id = await scene.add({ ...hourly, catchUp: 'latest' })
    scene.clock.set('2026-02-01T09:30:00.000Z')
    const other = await scene.open()
    await Promise.all([scene.one.fire(), other.fire()])
    expect(await scene.told(id)).toEqual(['10:00:00 missed 23', '09:00:00 caughtUp'])
    expect([await scene.ticksOf(id), (await scene.row(id)).missed]).toEqual([['09:00:00'], 23])
    const [, last] = await scene.history(id)
    expect([last?.lateMs, last?.outcome]).toEqual([1_800_000, 'pending'])
    await other[Symbol.asyncDispose]()
  })

  test('latest: a tick that is in time makes up for those before it', async () => {
    const { told, missed } = await afterDay({ catchUp: 'latest' }, '2026-02-01T09:00:30.000Z')
    expect([told, missed]).toEqual([['10:00:00 missed 23', '09:00:00 fired'], 23])
  })

  test('all: the newest so many are fired, in their order', async () => {
    const { told, missed } = await afterDay({ catchUp: { all: 5 } })
    expect([told, missed]).toEqual([['10:00:00 missed 19', ...hours(5, 9, 'caughtUp')], 19])
  })

  test('all of them, when there are no more; and nothing is said to be missed', async () => {
    const { told, missed } = await afterDay({ catchUp: { all: 24 } })
    expect([told, missed, warned()]).toEqual([hours(10, 33, 'caughtUp'), 0, []])
  })

  test('none is caught up with that is older than the window', async () => {
    const { told, missed } = await afterDay({ catchUp: { all: 24 }, catchUpWindowMs: 3 * 3_600_000 })
    expect([told, missed]).toEqual([['10:00:00 missed 21', ...hours(7, 9, 'caughtUp')], 21])
    scene.clock.set(startAt)
    const latest = await afterDay({ catchUp: 'latest', name: 'short', catchUpWindowMs: 60_000 })
    expect(latest.told).toEqual(['10:00:00 missed 24'])
  })

  test('those that overlap are skipped, as those in time are', async () => {
    const id = await scene.add({ ...hourly, catchUp: { all: 3 }, overlap: 'skip' })
    scene.clock.set('2026-02-01T09:30:00.000Z')
    await scene.one.fire()
    expect(await scene.told(id)).toEqual(['10:00:00 missed 21', '07:00:00 caughtUp', '08:00:00 skipped', '09:00:00 skipped'])
  })

  test('a day of a schedule of each second: a thousand are caught up with, a thousand or more are missed, and the history stays short', async () => {
    const id = await scene.add({ cron: '* * * * * *', name: 'each-second', catchUp: { all: 1000 } })
    const healthy = await scene.add()
    scene.clock.set('2026-02-01T09:05:00.000Z')
    // No more than 500 of a schedule in one transaction.
    expect(await scene.one.fire()).toBe(3)
    const ticks = await scene.ticksOf(id)
    // 61 are in time.
    const from = Date.parse('2026-02-01T09:05:00.000Z') - 1060 * 1000
    expect(ticks).toEqual(Array.from({ length: 1061 }, (_, i) => new Date(from + i * 1000).toISOString().slice(11, 19)))
    expect((await scene.row(id)).missed).toBe(1000)
    expect(warned().find(({ fields }) => fields['schedule'] === 'each-second')?.fields).toMatchObject({ count: 1000, isMore: true })
    expect((await scene.history(id)).length).toBeLessThanOrEqual(140)
    expect((await scene.ticksOf(healthy)).at(-1)).toBe('09:05:00')
  }, 30_000)

  test('a clock that is set an hour ahead is an hour in which nothing ran', async () => {
    const id = await scene.add({ catchUp: 'latest' })
    scene.clock.set('2026-01-31T09:10:00.000Z')
    await scene.one.fire()
    scene.clock.move(3_600_000)
    await scene.one.fire()
    expect((await scene.told(id)).slice(-3)).toEqual(['09:11:00 missed 58', '10:09:00 fired', '10:10:00 fired'])
    scene.clock.move(60_000)
    await scene.one.fire()
    expect((await scene.told(id)).at(-1)).toBe('10:11:00 fired')
  })

  test('a clock that is set an hour back fires nothing again, and goes on where it was', async () => {
    const id = await scene.add()
    scene.clock.set('2026-01-31T09:06:00.000Z')
    await scene.one.fire()
    const fired = ['09:06:00']
    scene.clock.move(-3_600_000)
    for (let i = 0; i < 120; i++) {
      scene.clock.move(30_000)
      await scene.one.fire()
    }
    expect(await scene.ticksOf(id)).toEqual(fired)
    scene.clock.move(60_000)
    await scene.one.fire()
    expect(await scene.ticksOf(id)).toEqual([...fired, '09:07:00'])
    expect(warned()).toEqual([])
  })
}
