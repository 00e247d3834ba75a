import { expect, test } from 'bun:test'
import { type AnySchedule, defineSchedule } from '@/core/schedule/schedule'
import { createScheduleRows, declaredForMs, declareEveryMs, type ScheduleRow } from '@/infra/schedule/rows'
import type { Backing } from '../../backings'
import { report, type Scene, useScene } from './fixture'

/** Schedules in code that no version of it has any more come no more, and only those. */
export function retiredSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  const nightly = (over: Partial<AnySchedule> = {}): AnySchedule => ({
    ...defineSchedule('nightly', report, { to: 'Ada' }, { cron: '0 3 * * *', timeZone: 'Europe/Berlin' }),
    ...over,
  })
  async function row(): Promise<ScheduleRow> {
    const found = await createScheduleRows(scene.db).get('nightly')
    if (!found) throw new Error('there is no schedule nightly')
    return found
  }
  const at = (time: string) => Date.parse(`2026-01-31T${time}.000Z`)

  test('what no version has had for long is not missed when one has it again', async () => {
    await scene.one.declarer([nightly({ cron: '* * * * *', catchUp: 'latest' })]).declare()
    const { id } = await row()
    const without = scene.one.declarer([], { retireAfterMs: 0 })
    scene.clock.move(declaredForMs - 1)
    await without.declare()
    expect((await row()).nextAtMs).toBe(at('09:06:00'))
    scene.clock.set('2026-01-31T11:30:30.000Z')
    await without.declare()
    expect((await row()).nextAtMs).toBe(null)
    await scene.one.declarer([nightly({ cron: '* * * * *', catchUp: 'latest' })]).declare()
    expect(await row()).toMatchObject({ id, cursorMs: at('11:30:30'), nextAtMs: at('11:31:00'), missed: 0 })
    scene.clock.set('2026-01-31T11:31:00.000Z')
    await scene.one.fire()
    expect(await scene.told(id)).toEqual(['11:31:00 fired'])
  })

  test('while nobody can declare, nobody takes that for a schedule that nobody declares', async () => {
    const retireAfterMs = 20 * declareEveryMs
    const without = await retiring(scene)
    await scene.one.declarer([nightly({ cron: '* * * * *' })]).declare()
    const isThere = async () => (await row()).nextAtMs !== null
    await without.pass(retireAfterMs - 2 * declareEveryMs)
    // The database is away, for longer than a schedule stays that nobody declares; who has schedules has not yet come back.
    without.away(true)
    await without.pass(retireAfterMs)
    without.away(false)
    await without.pass(retireAfterMs)
    expect(await isThere()).toBe(true)
    await without.pass(declareEveryMs)
    expect(await isThere()).toBe(false)
    await without[Symbol.asyncDispose]()
  })

  test('a process that slept, or a clock that was set, gives those who declare it as long again', async () => {
    const retireAfterMs = 20 * declareEveryMs
    for (const gap of [(ms: number, own: Retiring) => own.sleep(ms), (ms: number) => scene.clock.move(ms)]) {
      const without = await retiring(scene)
      await scene.one.declarer([nightly({ cron: '* * * * *' })]).declare()
      await without.pass(retireAfterMs - 2 * declareEveryMs)
      gap(retireAfterMs, without)
      await without.pass(retireAfterMs)
      expect((await row()).nextAtMs).not.toBe(null)
      await without.pass(2 * declareEveryMs)
      expect((await row()).nextAtMs).toBe(null)
      await without[Symbol.asyncDispose]()
    }
  })
}

interface Retiring extends AsyncDisposable {
  /** The database takes nothing, or does again. */
  away(is: boolean): void
  /** Time goes by, and it declares as often as it does. */
  pass(ms: number): Promise<void>
  /** Time goes by. */
  sleep(ms: number): void
}

/** A process that has no schedules in code. */
async function retiring(scene: Scene): Promise<Retiring> {
  const process = await scene.open()
  let elapsedMs = 0
  let isAway = false
  const sleep = (ms: number) => {
    scene.clock.move(ms)
    elapsedMs += ms
  }
  const away = () => Promise.reject(new Error('the database is away'))
  const db = new Proxy(process.db, { get: (real, name, own) => (isAway && name === 'run' ? away : Reflect.get(real, name, own)) })
  const declarer = process.declarer([], { db, retireAfterMs: 20 * declareEveryMs, elapsedMs: () => elapsedMs })
  return {
    away(is) {
      isAway = is
    },
    sleep,
    async pass(ms) {
      for (let left = ms; left > 0; left -= declareEveryMs) {
        sleep(declareEveryMs)
        const failed = await declarer.declare().then(
          () => false,
          () => true,
        )
        expect(failed).toBe(isAway)
      }
    },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  }
}
