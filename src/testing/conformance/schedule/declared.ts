import { expect, test } from 'bun:test'
import { UniqueViolation } from '@/core/database'
import { type AnySchedule, defineSchedule } from '@/core/schedule/schedule'
import { createScheduleRows, declaredForMs, declareEveryMs, type ScheduleRow, type ScheduleRows } from '@/infra/schedule/rows'
import type { Backing } from '../../backings'
import { report, tidy, useScene } from './fixture'

/** Schedules in code are rows, too, which follow the code. */
export function declaredSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  const nightly = (over: Partial<AnySchedule> = {}): AnySchedule => ({
    ...defineSchedule('nightly', report, { to: 'Ada' }, { cron: '0 3 * * *', timeZone: 'Europe/Berlin', catchUp: { all: 3 } }),
    ...over,
  })
  const rows = () => createScheduleRows(scene.db)
  async function row(name = 'nightly'): Promise<ScheduleRow> {
    const found = await rows().get(name)
    if (!found) throw new Error(`there is no schedule ${name}`)
    return found
  }
  const at = (time: string) => Date.parse(`2026-01-31T${time}.000Z`)

  test('they are there once a process has begun, each once, though several begin together', async () => {
    const schedules = [nightly(), ...Array.from({ length: 20 }, (_, i) => nightly({ name: `house-${i}`, task: tidy, payload: {} }))]
    const others = [await scene.open(), await scene.open()]
    await Promise.all([scene.one, ...others].map(process => process.declarer(schedules).declare()))
    const listed = await rows().list(1000)
    expect(listed.map(({ name }) => name)).toEqual(schedules.map(({ name }) => name).toSorted())
    expect(await row()).toMatchObject({
      ...{ origin: 'code', cron: '0 3 * * *', timeZone: 'Europe/Berlin', task: 'report.send', payload: { to: 'Ada' }, overlap: 'skip' },
      ...{ catchUp: { all: 3 }, isPaused: false, cursorMs: at('09:05:00'), declaredAtMs: at('09:05:00'), version: 1 },
      nextAtMs: Date.parse('2026-02-01T02:00:00.000Z'),
    })
    for (const other of others) await other[Symbol.asyncDispose]()
  })

  test('a process that begins again changes nothing: what was due meanwhile is due still, and what is paused stays so', async () => {
    await scene.one.declarer([nightly({ cron: '0 * * * *' }), nightly({ name: 'resting' })]).declare()
    const resting = await row('resting')
    await rows().change(resting.id, resting.version, { isPaused: true, nextAtMs: null, updatedAtMs: scene.clock.nowMs() })
    scene.clock.set('2026-02-01T09:30:00.000Z')
    const declarer = scene.one.declarer([nightly({ cron: '0 * * * *' }), nightly({ name: 'resting' })])
    await declarer.declare()
    expect(await row()).toMatchObject({ cursorMs: at('09:05:00'), nextAtMs: at('10:00:00'), declaredAtMs: scene.clock.nowMs(), version: 1 })
    expect(await row('resting')).toMatchObject({ isPaused: true, nextAtMs: null, version: 2 })
    await scene.one.fire()
    expect(await scene.told((await row()).id)).toEqual(['10:00:00 missed 21', '07:00:00 caughtUp', '08:00:00 skipped', '09:00:00 skipped'])
  })

  test('what the code says otherwise is so from then on; the ticks before go with the expression that said them', async () => {
    await scene.one.declarer([nightly({ cron: '0 * * * *' })]).declare()
    const { id } = await row()
    scene.clock.set('2026-01-31T12:30:00.000Z')
    await scene.one.declarer([nightly({ cron: '0 * * * *', payload: { to: 'Grace' }, overlap: 'allow' })]).declare()
    expect(await row()).toMatchObject({ id, payload: { to: 'Grace' }, overlap: 'allow', cursorMs: at('09:05:00'), version: 2 })
    await scene.one.declarer([nightly({ cron: '45 * * * *', payload: { to: 'Grace' }, overlap: 'allow' })]).declare()
    expect(await row()).toMatchObject({ id, cursorMs: at('12:30:00'), nextAtMs: at('12:45:00'), version: 3 })
    await scene.one.fire()
    expect([await scene.told(id), (await row()).missed]).toEqual([['10:00:00 missed 3'], 3])
    expect(scene.one.warnings()).toEqual(['ticks of a schedule were missed before it was changed'])
  })

  test('what waits for the end of a task is let go with the expression, or the rule, that it waits by, and waits on otherwise', async () => {
    const hourly = { cron: '0 * * * *', overlap: 'bufferOne' } as const
    const before = scene.one.declarer([nightly(hourly)])
    await before.declare()
    const { id } = await row()
    for (const time of ['10:00:00', '11:00:00']) {
      scene.clock.set(`2026-01-31T${time}.000Z`)
      await before.declare()
      await scene.one.firing.round()
    }
    expect([await scene.told(id), (await row()).bufferedMs]).toEqual([['10:00:00 fired', '11:00:00 buffered'], at('11:00:00')])
    scene.clock.set('2026-01-31T11:30:00.000Z')
    await scene.one.declarer([nightly({ ...hourly, catchUp: 'latest' })]).declare()
    expect(await row()).toMatchObject({ bufferedMs: at('11:00:00'), nextAtMs: at('11:30:00') })
    await scene.one.declarer([nightly({ ...hourly, cron: '45 * * * *' })]).declare()
    expect(await row()).toMatchObject({ bufferedMs: null, nextAtMs: at('11:45:00'), missed: 0 })
    expect(await scene.told(id)).toEqual(['10:00:00 fired', '11:00:00 skipped'])
    scene.clock.set('2026-01-31T11:45:00.000Z')
    await scene.one.declarer([nightly({ ...hourly, cron: '45 * * * *' })]).declare()
    await scene.one.firing.round()
    expect((await row()).bufferedMs).toBe(at('11:45:00'))
    await scene.one.declarer([nightly({ cron: '45 * * * *', overlap: 'allow' })]).declare()
    expect(await row()).toMatchObject({ bufferedMs: null, nextAtMs: at('12:45:00') })
    expect(await scene.told(id)).toEqual(['10:00:00 fired', '11:00:00 skipped', '11:45:00 skipped'])
  })

  test('a tick that is in the history already, whatever the cursor says, keeps nobody from declaring it otherwise', async () => {
    const before = scene.one.declarer([nightly({ cron: '0 * * * *' })])
    await before.declare()
    const { id } = await row()
    scene.clock.set('2026-01-31T10:00:00.000Z')
    await before.declare()
    await scene.one.fire()
    await scene.db.run('update "schedule" set "cursorMs" = ? where "id" = ?', [at('09:05:00'), id])
    await scene.one.declarer([nightly({ cron: '45 * * * *' })]).declare()
    expect(await row()).toMatchObject({ cron: '45 * * * *', nextAtMs: at('10:45:00') })
    expect(await scene.told(id)).toEqual(['10:00:00 fired'])
  })

  test('no tick is lost, nor fired twice, when another process fires it while a deployment changes it', async () => {
    const every = { cron: '* * * * * *', overlap: 'allow' } as const
    await scene.one.declarer([nightly(every)]).declare()
    const { id } = await row()
    const other = await scene.open()
    const second = async () => {
      scene.clock.move(1000)
      await other.fire()
    }
    await second()
    scene.clock.move(1000)
    const real = rows()
    // The other fires what is due after the first reading.
    const meanwhile: number[] = []
    const between: ScheduleRows = {
      ...real,
      async named(names, on) {
        const found = await real.named(names, on)
        if (!on) meanwhile.push(await other.fire())
        return found
      },
    }
    await scene.one.declarer([nightly({ ...every, payload: { to: 'Grace' } })], { rows: between }).declare()
    expect(meanwhile).toEqual([1])
    expect(await row()).toMatchObject({ payload: { to: 'Grace' }, cursorMs: at('09:05:02'), nextAtMs: at('09:05:03'), version: 2 })
    await second()
    await second()
    const seconds = ['09:05:01', '09:05:02', '09:05:03', '09:05:04']
    expect([await scene.told(id), await scene.ticksOf(id)]).toEqual([seconds.map(time => `${time} fired`), seconds])
    expect([other.warnings(), scene.one.warnings()]).toEqual([[], []])
    await other[Symbol.asyncDispose]()
  })

  test('what others have written at the same time is neither told nor taken as written, and is tried again at once', async () => {
    const real = rows()
    await scene.one.declarer([nightly()]).declare()
    const changes = () => scene.one.log.lines.filter(({ message }) => message === 'a schedule in code has changed').length
    let lost = 0
    const declaring = (times: number) => {
      lost = times
      // As if somebody had edited it since it was read.
      const change: ScheduleRows['change'] = (id, version, said, on) => real.change(id, lost-- > 0 ? version - 1 : version, said, on)
      return { ...real, change }
    }
    await scene.one.declarer([nightly({ cron: '0 4 * * *' })], { rows: declaring(1) }).declare()
    expect([(await row()).cron, (await row()).version, changes()]).toEqual(['0 4 * * *', 2, 1])
    const declarer = scene.one.declarer([nightly({ cron: '0 5 * * *' })], { rows: declaring(5) })
    await declarer.declare()
    expect([(await row()).cron, changes()]).toEqual(['0 4 * * *', 1])
    // No time has passed, and the old version runs.
    await declarer.declare()
    expect([(await row()).cron, changes()]).toEqual(['0 5 * * *', 2])
  })

  test('one that another process makes at the same time, and otherwise, is changed at once', async () => {
    const real = rows()
    let inserts = 0
    const insert: ScheduleRows['insert'] = async (said, atMs, on) => {
      // As by one that commits just before.
      if (inserts++ === 0) throw new UniqueViolation('schedule_name', { cause: undefined })
      return real.insert(said, atMs, on)
    }
    await scene.one.declarer([nightly()], { rows: { ...real, insert } }).declare()
    expect([inserts, (await row()).cron]).toEqual([2, '0 3 * * *'])
    const others = await Promise.all([1, 2, 3].map(() => scene.open()))
    const crons = [1, 2, 3].map(hour => `0 ${hour} * * *`)
    await Promise.all(others.map((process, i) => process.declarer([nightly({ name: 'contended', cron: crons[i] ?? '' })]).declare()))
    // Each was heard once, and the last of them stays.
    expect((await row('contended')).version).toBe(3)
    const told = others.flatMap(({ log }) => log.lines.map(({ message }) => message))
    expect(told.toSorted()).toEqual([...['a schedule in code has changed', 'a schedule in code has changed', 'a schedule in code is new']])
    for (const other of others) await other[Symbol.asyncDispose]()
  })

  test('while two versions run the one that was started last is heard, and when nobody runs it any more the other', async () => {
    const [old, other] = [nightly({ cron: '0 4 * * *' }), nightly({ cron: '0 5 * * *' })]
    const [before, after] = [scene.one.declarer([old]), scene.one.declarer([other])]
    await before.declare()
    await after.declare()
    const said: string[] = []
    // The later one ends after three minutes.
    for (let i = 0; i < 12; i++) {
      scene.clock.move(declareEveryMs)
      await before.declare()
      if (i < 6) await after.declare()
      said.push((await row()).cron)
    }
    const takenAt = said.indexOf('0 4 * * *')
    expect(takenAt).toBeGreaterThanOrEqual(6)
    expect(takenAt).toBeLessThanOrEqual(6 + declaredForMs / declareEveryMs)
    expect(said.slice(takenAt)).toEqual(said.slice(takenAt).map(() => '0 4 * * *'))
    expect((await row()).version).toBe(3)
  })

  test('is fired by the row, also by a process whose code does not have it, while some process does', async () => {
    await scene.one.declarer([nightly({ cron: '* * * * *', overlap: 'allow', catchUp: 'latest' })]).declare()
    const { id } = await row()
    const other = await scene.open()
    scene.clock.move(60_000)
    await other.fire()
    expect(await scene.ticksOf(id)).toEqual(['09:06:00'])
    // Nobody has declared it for two minutes.
    scene.clock.set('2026-01-31T09:08:00.000Z')
    await other.fire()
    expect(await scene.ticksOf(id)).toEqual(['09:06:00'])
    const again = scene.one.declarer([nightly({ cron: '* * * * *', overlap: 'allow', catchUp: 'latest' })])
    await again.declare()
    await other.fire()
    expect(await scene.ticksOf(id)).toEqual(['09:06:00', '09:07:00', '09:08:00'])
    await other[Symbol.asyncDispose]()
  })

  test('one of the database that has its name becomes it, loudly', async () => {
    const id = await scene.add({ name: 'nightly', cron: '*/5 * * * *', payload: { to: 'Grace' } })
    await scene.one.declarer([nightly()]).declare()
    expect(await row()).toMatchObject({ id, origin: 'code', cron: '0 3 * * *', payload: { to: 'Ada' }, declaredAtMs: at('09:05:00') })
    expect(scene.one.log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)).toEqual([
      { schedule: 'nightly', cron: '*/5 * * * *', timeZone: 'UTC', task: 'report.send' },
    ])
  })

  test('a clock that is set is no reason to declare less, nor more', async () => {
    const declarer = scene.one.declarer([nightly()])
    const declaredAt = async () => {
      await declarer.declare()
      return (await row()).declaredAtMs
    }
    expect(await declaredAt()).toBe(at('09:05:00'))
    scene.clock.move(declareEveryMs - 1)
    expect(await declaredAt()).toBe(at('09:05:00'))
    for (const time of ['10:05:00', '08:00:00', '08:00:30']) {
      scene.clock.set(`2026-01-31T${time}.000Z`)
      expect(await declaredAt()).toBe(at(time))
    }
    expect((await row()).version).toBe(1)
  })
}
