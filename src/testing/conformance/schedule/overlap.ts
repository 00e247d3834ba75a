import { afterAll, beforeAll, expect, test } from 'bun:test'
import { tickTaskId } from '@/core/schedule/schedule'
import type { Held } from '@/infra/queue/driver'
import type { Backing } from '../../backings'
import { until } from '../cache-fixture'
import { claimed, end, useScene } from './fixture'

/** What a tick does while the task of an earlier one has not ended, with tasks that wait, run and have ended in the real queue. */
export function overlapSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  beforeAll(() => scene.one.queue.relay?.start())
  afterAll(() => scene.one.queue.relay?.stop())

  const idOf = (id: string, time: string) => tickTaskId(id, Date.parse(`2026-01-31T${time}.000Z`))
  /** On to the next minute, and fires. */
  async function minute(): Promise<void> {
    scene.clock.move(60_000)
    await scene.one.fire()
  }
  const { driver, admin } = { driver: () => scene.one.queue.driver, admin: () => scene.one.queue.admin }
  const stateOf = (taskId: string) =>
    admin()
      .show(taskId)
      .then(
        ({ state, isInOutbox }) => (isInOutbox ? 'outbox' : state),
        () => 'gone',
      )
  /** Where there is an outbox, a task comes to the queue a little later. */
  const inQueue = (taskId: string) => until(async () => !['outbox', 'gone'].includes(await stateOf(taskId)))
  /** Its task runs. */
  async function begun(taskId: string, queue = 'default'): Promise<Held[]> {
    await inQueue(taskId)
    const held = await claimed(driver(), queue)
    expect(held.map(({ id }) => id)).toEqual([taskId])
    return held
  }

  test('allow: enqueues beside it', async () => {
    const id = await scene.add({ overlap: 'allow' })
    await minute()
    const first = await begun(idOf(id, '09:06:00'))
    await minute()
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 fired', '09:08:00 fired'])
    for (const time of ['09:07:00', '09:08:00']) await inQueue(idOf(id, time))
    await end(driver(), 'default', first)
  })

  test('skip: lets ticks be while it waits, runs, or is to be tried again, and enqueues when it is done', async () => {
    const id = await scene.add({ overlap: 'skip' })
    const taskId = idOf(id, '09:06:00')
    await minute()
    await inQueue(taskId)
    expect(await stateOf(taskId)).toBe('waiting')
    await minute()
    const first = await begun(taskId)
    await minute()
    await end(driver(), 'default', first, { outcome: 'retry', delayMs: 60_000, error: 'again' })
    expect(await stateOf(taskId)).toBe('scheduled')
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 skipped', '09:08:00 skipped', '09:09:00 skipped'])
    await admin().cancel(taskId)
    await minute()
    const last = await begun(idOf(id, '09:10:00'))
    await end(driver(), 'default', last, { outcome: 'done', keepForMs: 60_000 })
    await minute()
    expect((await scene.told(id)).slice(4)).toEqual(['09:10:00 fired', '09:11:00 fired'])
    await inQueue(idOf(id, '09:11:00'))
  })

  test('skip: a dead letter has ended', async () => {
    const id = await scene.add({ overlap: 'skip' })
    await minute()
    const held = await begun(idOf(id, '09:06:00'))
    await end(driver(), 'default', held, { outcome: 'dead', error: 'no', isFailure: true })
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 fired'])
  })

  test('skip: finds the task where operators have moved it', async () => {
    const id = await scene.add({ overlap: 'skip' })
    await minute()
    await inQueue(idOf(id, '09:06:00'))
    await admin().move(idOf(id, '09:06:00'), 'house')
    await minute()
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 skipped', '09:08:00 skipped'])
    await end(driver(), 'house', await begun(idOf(id, '09:06:00'), 'house'))
    await minute()
    expect((await scene.told(id)).at(-1)).toBe('09:09:00 fired')
    await inQueue(idOf(id, '09:09:00'))
  })

  test('bufferOne: the last tick that came meanwhile is enqueued as soon as it has ended', async () => {
    const id = await scene.add({ overlap: 'bufferOne' })
    await minute()
    const first = await begun(idOf(id, '09:06:00'))
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 buffered'])
    for (let i = 0; i < 5; i++) {
      scene.clock.move(500)
      await scene.one.fire()
    }
    expect([(await scene.row(id)).bufferedMs, await stateOf(idOf(id, '09:07:00'))]).toEqual([Date.parse('2026-01-31T09:07:00Z'), 'gone'])
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 skipped', '09:08:00 buffered'])
    await end(driver(), 'default', first)
    scene.clock.move(500)
    await scene.one.fire()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 skipped', '09:08:00 fired'])
    const [, , late] = await scene.history(id)
    expect([late?.lateMs, late?.taskId, late?.outcome]).toEqual([3000, idOf(id, '09:08:00'), 'pending'])
    expect((await scene.row(id)).bufferedMs).toBe(null)
    const second = await begun(idOf(id, '09:08:00'))
    await minute()
    await end(driver(), 'default', second)
    // It has ended when the next tick comes: the one that waited goes first, and that one waits.
    await minute()
    expect((await scene.told(id)).slice(3)).toEqual(['09:09:00 fired', '09:10:00 buffered'])
    await end(driver(), 'default', await begun(idOf(id, '09:09:00')))
  })

  test('bufferOne: two processes that have read that it ended enqueue what waits once', async () => {
    const id = await scene.add({ overlap: 'bufferOne' })
    await minute()
    const running = await begun(idOf(id, '09:06:00'))
    await minute()
    await end(driver(), 'default', running)
    scene.clock.move(500)
    const late = await scene.open({
      tickTasks: real => ({
        ...real,
        async look(some) {
          const states = await real.look(some)
          await scene.one.fire()
          return states
        },
      }),
    })
    expect(await late.firing.round()).toEqual({ due: 1, settled: 0 })
    expect([await scene.told(id), late.warnings()]).toEqual([['09:06:00 fired', '09:07:00 fired'], []])
    await late[Symbol.asyncDispose]()
    await end(driver(), 'default', await begun(idOf(id, '09:07:00')))
  })

  test('cancelOther: cancels it, whether it waits or runs, and enqueues', async () => {
    const id = await scene.add({ overlap: 'cancelOther' })
    await minute()
    await inQueue(idOf(id, '09:06:00'))
    await minute()
    const running = await begun(idOf(id, '09:07:00'))
    expect(await stateOf(idOf(id, '09:06:00'))).toBe('gone')
    await minute()
    const { cancelled } = await driver().beat('default', 60_000, running)
    expect(cancelled).toEqual([idOf(id, '09:07:00')])
    await end(driver(), 'default', running, { outcome: 'cancelled' })
    await inQueue(idOf(id, '09:08:00'))
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 fired', '09:08:00 fired'])
  })

  test('ticks that are due at once meet each other, in their order', async () => {
    const add = (overlap: 'allow' | 'skip' | 'bufferOne' | 'cancelOther') => scene.add({ cron: '* * * * * *', overlap })
    const [allow, skip, bufferOne, cancelOther] = [await add('allow'), await add('skip'), await add('bufferOne'), await add('cancelOther')]
    scene.clock.move(3000)
    await scene.one.firing.round()
    const told = (...what: string[]) => what.map((each, i) => `09:05:0${i + 1} ${each}`)
    expect(await scene.told(allow)).toEqual(told('fired', 'fired', 'fired'))
    expect(await scene.told(skip)).toEqual(told('fired', 'skipped', 'skipped'))
    expect(await scene.told(bufferOne)).toEqual(told('fired', 'skipped', 'buffered'))
    expect(await scene.told(cancelOther)).toEqual(told('skipped', 'skipped', 'fired'))
  })

  test('while nobody can say whether it has ended the tick waits, others do not, and it is fired when it is known', async () => {
    const skipping = await scene.add({ overlap: 'skip' })
    const allowing = await scene.add({ overlap: 'allow' })
    await minute()
    await end(driver(), 'default', await claimedOf([skipping, allowing], '09:06:00'))
    const silent = await scene.open({ tickTasks: real => ({ ...real, look: async () => new Map() }) })
    scene.clock.move(60_000)
    await silent.fire()
    for (let second = 0; second < 20; second++) {
      scene.clock.move(1000)
      await silent.fire()
    }
    expect(await scene.told(skipping)).toEqual(['09:06:00 fired'])
    expect(await scene.told(allowing)).toEqual(['09:06:00 fired', '09:07:00 fired'])
    scene.clock.move(1000)
    await scene.one.fire()
    expect(await scene.told(skipping)).toEqual(['09:06:00 fired', '09:07:00 fired'])
    const [, last] = await scene.history(skipping)
    expect(last?.lateMs).toBe(21_000)
    await silent[Symbol.asyncDispose]()
  })

  async function claimedOf(ids: readonly string[], time: string): Promise<Held[]> {
    for (const id of ids) await inQueue(idOf(id, time))
    return claimed(driver(), 'default')
  }
}

/** The same where nothing is handed over from the outbox to the queue. */
export function overlapInOutboxSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  async function minute(): Promise<void> {
    scene.clock.move(60_000)
    await scene.one.fire()
  }

  test('a task that has not been handed over yet has not ended, and can be cancelled', async () => {
    const ids = [
      await scene.add({ overlap: 'skip' }),
      await scene.add({ overlap: 'bufferOne' }),
      await scene.add({ overlap: 'cancelOther' }),
    ]
    await minute()
    await minute()
    const told = await Promise.all(ids.map(scene.told))
    expect(told.map(([, second]) => second)).toEqual(['09:07:00 skipped', '09:07:00 buffered', '09:07:00 fired'])
    expect(await Promise.all(ids.map(scene.ticksOf))).toEqual([['09:06:00'], ['09:06:00'], ['09:07:00']])
  })

  test('a task that has been handed over, and has ended, before its row was dropped has ended', async () => {
    const id = await scene.add({ overlap: 'skip' })
    await minute()
    const [taskId = ''] = await scene.accepted()
    const { driver } = scene.one.queue
    const mark = (is: string) => scene.db.run(`update "outbox" set "claimedAt" = ${is}`)
    // Somebody may have handed it over; nobody has.
    await mark('utc_timestamp(3)')
    await minute()
    await driver.enqueue('default', [{ id: taskId, isIdKept: true, priority: 5, delayMs: 0, envelope: '["report.send",1,{"to":"Ada"}]' }])
    await minute()
    await end(driver, 'default', await claimed(driver, 'default'), { outcome: 'done', keepForMs: 60_000 })
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 skipped', '09:08:00 skipped', '09:09:00 fired'])
  })

  test('a task that was given up there holds up nothing', async () => {
    const id = await scene.add({ overlap: 'skip' })
    await minute()
    await scene.db.run('update "outbox" set "gaveUpAt" = utc_timestamp(3)')
    await minute()
    expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 fired'])
  })
}
