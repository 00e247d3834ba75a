import { afterAll, beforeAll, expect, test } from 'bun:test'
import { giveUp, handle } from '@/core/queue/task'
import { ticksKeptMax } from '@/core/schedule/admin'
import { tickTaskId } from '@/core/schedule/schedule'
import type { Service } from '@/core/service'
import { createHistory } from '@/infra/schedule/history'
import { createWorker } from '@/infra/queue/worker'
import type { Backing } from '../../backings'
import { fakeLog, fakeMetrics } from '../../fakes'
import { until } from '../cache-fixture'
import { report, tidy, useScene } from './fixture'

/** The history says how tasks have ended, and does not grow for ever. */
export function outcomesSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  /** What the handlers wait for, by the `to` of the payload. */
  const gates = new Map<string, Promise<void>>()
  let worker: Service
  let begun: string[] = []
  beforeAll(async () => {
    await scene.one.queue.relay?.start()
    const { driver } = scene.one.queue
    worker = createWorker({
      ...{ driver, log: fakeLog(), metrics: fakeMetrics(), leaseMs: 30_000, graceMs: 1000, heartbeats: { driver } },
      queues: { default: { concurrency: 20 }, house: { concurrency: 20 } },
      handlers: [
        handle(report, async ({ to }, { id, signal }) => {
          begun.push(id)
          const told = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
          await Promise.race([gates.get(to), told])
          return to === 'nobody' ? giveUp('there is no such person') : undefined
        }),
        handle(tidy, async () => {}),
      ],
    })
    await worker.start()
  })
  afterAll(async () => {
    await worker.stop()
    await scene.one.queue.relay?.stop()
  })

  const outcomesOf = async (id: string) => (await scene.history(id)).map(({ outcome }) => outcome)
  async function tick(): Promise<void> {
    scene.clock.move(60_000)
    await scene.one.fire()
  }
  const ended = async (id: string, tickMs: number, queue = 'default') => {
    const [found] = await scene.one.queue.driver.peek(queue, [tickTaskId(id, tickMs)])
    return found ? found.outcome : 'gone'
  }
  /** Looks, by the clock of ticks, at everything that is to be looked at. */
  async function look(): Promise<void> {
    scene.clock.move(20_000)
    await scene.one.outcomes.look()
  }

  test('done, dead, cancelled, or not yet: as the real worker has ended them', async () => {
    begun = []
    const held = Promise.withResolvers<void>()
    gates.set('slow', held.promise)
    const done = await scene.add()
    const dead = await scene.add({ payload: { to: 'nobody' } })
    const slow = await scene.add({ payload: { to: 'slow' } })
    const house = await scene.add({ task: tidy.name, payload: {} })
    const gone = await scene.add({ payload: { to: 'slow' } })
    await tick()
    const tickMs = scene.clock.nowMs()
    await until(() => begun.length === 4)
    await scene.one.queue.admin.cancel(tickTaskId(gone, tickMs))
    await until(async () => (await ended(gone, tickMs)) === 'gone')
    await until(async () => (await ended(dead, tickMs)) === 'dead')
    // Before five seconds have passed nobody looks.
    expect(await scene.one.outcomes.look()).toBe(0)
    for (const id of [done, dead, slow, house, gone]) expect(await outcomesOf(id)).toEqual(['pending'])
    await until(async () => (await ended(done, tickMs)) === 'done')
    await until(async () => (await ended(house, tickMs, 'house')) === 'done')
    await look()
    expect([await outcomesOf(done), await outcomesOf(dead), await outcomesOf(house)]).toEqual([['done'], ['dead'], ['done']])
    expect(await outcomesOf(slow)).toEqual(['pending'])
    held.resolve()
    await until(async () => (await ended(slow, tickMs)) === 'done')
    await look()
    expect([await outcomesOf(slow), await outcomesOf(gone)]).toEqual([['done'], ['cancelled']])
    // What is known is not looked at again.
    scene.clock.move(600_000)
    expect(await scene.one.outcomes.look()).toBe(0)
  })

  test('unknown, when nobody has looked before it was gone', async () => {
    const id = await scene.add()
    await tick()
    const tickMs = scene.clock.nowMs()
    await until(async () => (await ended(id, tickMs)) === 'done')
    await scene.one.queue.admin.remove(tickTaskId(id, tickMs))
    scene.clock.move(61_000)
    await scene.one.outcomes.look()
    expect(await outcomesOf(id)).toEqual(['unknown'])
  })

  test('what a clock that was ahead has fired and seen is looked at when it is set back, and is unknown when it is gone', async () => {
    const held = Promise.withResolvers<void>()
    gates.set('slow', held.promise)
    scene.clock.move(3_600_000)
    const [done, dead] = [await scene.add(), await scene.add({ payload: { to: 'nobody' } })]
    const [slow, gone] = [await scene.add({ payload: { to: 'slow' } }), await scene.add({ payload: { to: 'slow' } })]
    begun = []
    await tick()
    const tickMs = scene.clock.nowMs()
    await until(async () => (await ended(done, tickMs)) === 'done' && (await ended(dead, tickMs)) === 'dead')
    await until(() => [slow, gone].every(id => begun.includes(tickTaskId(id, tickMs))))
    scene.clock.move(-3_600_000)
    await scene.one.queue.admin.cancel(tickTaskId(gone, tickMs))
    await until(async () => (await ended(gone, tickMs)) === 'gone')
    // So soon after, and though others are due: nobody knows for how long it has been gone.
    const other = await scene.add({ isPaused: true })
    const due = { scheduleId: other, tickMs: 1, what: 'fired' as const, count: 1, atMs: scene.clock.nowMs() - 10_000, lateMs: 0 }
    await scene.db.tx(tx => createHistory(scene.db).add(tx, [{ ...due, taskId: 'none', outcome: 'pending' }]))
    expect(await scene.one.outcomes.look()).toBe(4)
    expect((await Promise.all([done, dead, slow, gone].map(outcomesOf))).flat()).toEqual(['done', 'dead', 'pending', 'unknown'])
    // From then on it is seen by the clock as it is.
    held.resolve()
    await until(async () => (await ended(slow, tickMs)) === 'done')
    await look()
    expect(await outcomesOf(slow)).toEqual(['done'])
  })

  test('one that was seen by a clock that was ahead, while the queue does not say, is looked at again', async () => {
    const id = await scene.add({ isPaused: true })
    const atMs = scene.clock.nowMs()
    const row = { scheduleId: id, tickMs: atMs, what: 'fired' as const, count: 1, atMs: atMs + 3_600_000, lateMs: 0 }
    const rows = Array.from({ length: 600 }, (_, i) => ({ ...row, tickMs: atMs + i, taskId: `none-${i}`, outcome: 'pending' as const }))
    await scene.db.tx(tx => createHistory(scene.db).add(tx, rows))
    const silent = await scene.open({ tickTasks: real => ({ ...real, look: async () => new Map() }) })
    expect(await silent.outcomes.look()).toBe(0)
    expect(await scene.one.outcomes.look()).toBe(0)
    scene.clock.move(20_000)
    expect(await scene.one.outcomes.look()).toBe(600)
    expect(new Set(await outcomesOf(id))).toEqual(new Set(['unknown']))
    await silent[Symbol.asyncDispose]()
  })

  test('dead, when the outbox gave it up', async () => {
    if (scene.db.dialect.name === 'sqlite') return
    const id = await scene.add({ isPaused: true })
    const atMs = scene.clock.nowMs()
    await scene.db.run(
      `insert into "outbox" ("queue", "taskId", "priority", "delayMs", "envelope", "madeAt", "claimedAt", "gaveUpAt")
        values ('default', 'given-up', 5, 0, '["report.send",1,{"to":"Ada"}]', utc_timestamp(3), utc_timestamp(3), utc_timestamp(3))`,
    )
    await scene.db.tx(tx => createHistory(scene.db).addManual(tx, { scheduleId: id, atMs, taskId: 'given-up' }))
    await look()
    expect(await outcomesOf(id)).toEqual(['dead'])
  })

  test('of runs by hand, too', async () => {
    const id = await scene.add()
    await scene.one.queue.queue.enqueue(report, { to: 'Ada' }, { id: 'by-hand', keepForMs: 60_000 })
    await scene.db.tx(tx => createHistory(scene.db).addManual(tx, { scheduleId: id, atMs: scene.clock.nowMs(), taskId: 'by-hand' }))
    await until(async () => (await scene.one.queue.driver.peek('default', ['by-hand']))[0]?.outcome === 'done')
    await look()
    expect(await outcomesOf(id)).toEqual(['done'])
  })

  test('nothing is written while the queue does not say, and it is seen later', async () => {
    const id = await scene.add()
    await tick()
    const silent = await scene.open({ tickTasks: real => ({ ...real, look: async () => new Map() }) })
    scene.clock.move(20_000)
    expect(await silent.outcomes.look()).toBe(0)
    expect(await outcomesOf(id)).toEqual(['pending'])
    await until(async () => (await ended(id, scene.clock.nowMs() - 20_000)) === 'done')
    await look()
    expect(await outcomesOf(id)).toEqual(['done'])
    await silent[Symbol.asyncDispose]()
  })

  test('many at once are each looked at by one of several processes', async () => {
    const id = await scene.add({ isPaused: true })
    const atMs = scene.clock.nowMs()
    const rows = Array.from({ length: 1200 }, (_, i) => ({
      ...{ scheduleId: id, tickMs: atMs + i, what: 'fired' as const, count: 1, atMs, lateMs: 0 },
      ...{ taskId: tickTaskId(id, atMs + i), outcome: 'pending' as const },
    }))
    await scene.db.tx(tx => createHistory(scene.db).add(tx, rows))
    const asked: string[] = []
    const counting = {
      tickTasks: (real: Parameters<NonNullable<Parameters<typeof scene.open>[0]>['tickTasks'] & object>[0]) => ({
        ...real,
        look: (some: Parameters<typeof real.look>[0]) => {
          asked.push(...some.map(({ taskId }) => taskId))
          return real.look(some)
        },
      }),
    }
    const others = [await scene.open(counting), await scene.open(counting)]
    scene.clock.move(5000)
    const counts = await Promise.all(others.map(({ outcomes }) => outcomes.look()))
    expect(counts.reduce((sum, n) => sum + n, 0)).toBe(1200)
    expect([asked.length, new Set(asked).size]).toEqual([1200, 1200])
    expect(new Set(await outcomesOf(id))).toEqual(new Set(['cancelled']))
    for (const other of others) await other[Symbol.asyncDispose]()
  })

  test('who looks needs no row of a schedule, which another may be firing', async () => {
    const id = await scene.add()
    await tick()
    await until(async () => (await ended(id, scene.clock.nowMs())) === 'done')
    scene.clock.move(20_000)
    const other = await scene.open()
    await other.db.tx(async tx => {
      await tx.first(`select "id" from "schedule" where "id" = ?${tx.dialect.forUpdate}`, [id])
      if (tx.dialect.name !== 'sqlite') await scene.one.outcomes.look()
    })
    if (scene.db.dialect.name === 'sqlite') await scene.one.outcomes.look()
    expect(await outcomesOf(id)).toEqual(['done'])
    await other[Symbol.asyncDispose]()
  })

  test('the history of a schedule that is fired for long has its last hundred ticks, and not many more at any time', async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, () => scene.add({ cron: '* * * * * *', task: tidy.name, payload: {} })))
    let most = 0
    for (let i = 0; i < 60; i++) {
      scene.clock.move(5000)
      await scene.one.fire()
      if (i % 10 === 9) for (const id of ids) most = Math.max(most, (await scene.history(id)).length)
    }
    expect(most).toBeGreaterThan(ticksKeptMax)
    expect(most).toBeLessThanOrEqual(ticksKeptMax + 45)
    for (const id of ids) {
      const kept = (await scene.history(id)).map(({ tickMs }) => tickMs)
      const lastMs = scene.clock.nowMs()
      expect(kept.slice(-ticksKeptMax)).toEqual(Array.from({ length: ticksKeptMax }, (_, i) => lastMs - (ticksKeptMax - 1 - i) * 1000))
    }
  }, 30_000)
}
