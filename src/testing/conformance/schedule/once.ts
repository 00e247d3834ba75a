import { expect, test } from 'bun:test'
import type { ScheduleChange } from '@/infra/schedule/rows'
import { createScheduleRows } from '@/infra/schedule/rows'
import type { Backing } from '../../backings'
import { gate } from '../cache-fixture'
import { type Process, type Scene, useScene } from './fixture'

/** Each tick is fired once, whoever fires it and whatever happens at the same time. */
export function onceSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)

  test('a tick is fired when it has come, with its nominal time, and not before', async () => {
    const id = await scene.add({ name: 'nightly', cron: '30 3 * * *', timeZone: 'Europe/Berlin', payload: { to: 'Grace' } })
    scene.clock.set('2026-02-01T02:29:59.999Z')
    expect([await scene.one.fire(), await scene.accepted()]).toEqual([0, []])
    scene.clock.set('2026-02-01T02:30:00.250Z')
    await scene.one.fire()
    const tickMs = Date.parse('2026-02-01T02:30:00.000Z')
    const taskId = `schedule:${id}:${tickMs}`
    expect(await scene.accepted()).toEqual([taskId])
    expect(await scene.one.queue.admin.show(taskId)).toMatchObject({
      ...{ task: 'report.send', payload: { to: 'Grace' } },
      headers: { schedule: 'nightly', 'schedule-tick': '2026-02-01T02:30:00.000Z' },
    })
    expect(await scene.history(id)).toEqual([
      ...[{ scheduleId: id, tickMs, what: 'fired', count: 1, atMs: tickMs + 250, lateMs: 250, taskId, outcome: 'pending' } as const],
    ])
    const row = await scene.row(id)
    expect([row.cursorMs, row.lastTickMs, row.lastTaskId, row.missed, row.version]).toEqual([tickMs, tickMs, taskId, 0, 1])
    expect(row.nextAtMs).toBe(tickMs + 86_400_000)
    expect([await scene.one.fire(), await scene.accepted()]).toEqual([0, [taskId]])
  })

  test('two processes that have read the same row fire it once', async () => {
    const id = await scene.add()
    scene.clock.move(60_000)
    // Each has read what is due before either goes on.
    const read = [gate(), gate()]
    const opened = await Promise.all(
      read.map(own =>
        scene.open({
          due: rows => ({
            ...rows,
            async take(nowMs, count) {
              const found = await rows.take(nowMs, count)
              expect(found.map(row => row.id)).toEqual([id])
              own.open()
              await Promise.all(read.map(each => each.passed))
              return found
            },
          }),
        }),
      ),
    )
    const [first, second] = opened
    const rounds = [first?.firing.round()]
    // A row that another reads at this moment is not found.
    await read[0]?.passed
    rounds.push(second?.firing.round())
    expect((await Promise.all(rounds)).map(round => round?.settled).toSorted()).toEqual([0, 1])
    expect([await scene.ticksOf(id), await scene.told(id)]).toEqual([['09:06:00'], ['09:06:00 fired']])
    for (const each of opened) {
      expect(each.warnings()).toEqual([])
      await each[Symbol.asyncDispose]()
    }
  })

  test('what was read long ago is not fired again: the cursor is compared, not only locked', async () => {
    const id = await scene.add()
    scene.clock.move(60_000)
    const late = await readingEarly(scene, async () => void (await scene.one.fire()))
    expect(await late.firing.round()).toEqual({ due: 1, settled: 0 })
    expect([await scene.ticksOf(id), late.warnings()]).toEqual([['09:06:00'], []])
    await late[Symbol.asyncDispose]()
  })

  test('many processes that fire many schedules at the same time fire each tick once', async () => {
    const ids: string[] = []
    for (let i = 0; i < 60; i++) ids.push(await scene.add({ cron: '* * * * * *' }))
    const others = await Promise.all([1, 2, 3].map(() => scene.open()))
    const all = [scene.one, ...others]
    for (let second = 0; second < 5; second++) {
      scene.clock.move(1000)
      await Promise.all(all.map(process => process.fire()))
    }
    const seconds = ['09:05:01', '09:05:02', '09:05:03', '09:05:04', '09:05:05']
    for (const id of ids) expect([await scene.ticksOf(id), (await scene.told(id)).length]).toEqual([seconds, 5])
    for (const process of all) expect(process.warnings()).toEqual([])
    for (const other of others) await other[Symbol.asyncDispose]()
  })

  test('an edit, a pause or a deletion between reading and firing wins as a whole', async () => {
    const rows = createScheduleRows(scene.db)
    const now = () => scene.clock.nowMs()
    const changes: [string, (id: string) => Promise<unknown>][] = [
      ['edit', id => rows.change(id, 1, { cron: '0 0 * * *', nextAtMs: Date.parse('2026-02-01T00:00:00Z'), updatedAtMs: now() })],
      ['payload', id => rows.change(id, 1, { payload: { to: 'Grace' }, updatedAtMs: now() } satisfies ScheduleChange)],
      ['pause', id => rows.change(id, 1, { isPaused: true, nextAtMs: null, updatedAtMs: now() })],
      ['delete', id => rows.remove(id, 1)],
    ]
    for (const [what, change] of changes) {
      const id = await scene.add()
      scene.clock.move(60_000)
      const late = await readingEarly(scene, async () => void (await change(id)))
      expect([what, await late.firing.round()]).toEqual([what, { due: 1, settled: 0 }])
      expect([what, await scene.ticksOf(id), await scene.history(id)]).toEqual([what, [], []])
      // What holds of it now is fired then, or nothing.
      await scene.one.fire()
      expect([what, await scene.ticksOf(id)]).toEqual([what, what === 'payload' ? ['09:07:00'] : []])
      await late[Symbol.asyncDispose]()
      await rows.remove(id, (await rows.get(id))?.version ?? 0)
    }
  })

  test('a process that dies before it commits has fired nothing, and the next one does', async () => {
    const id = await scene.add()
    scene.clock.move(60_000)
    const dying = await scene.open({ due: rows => ({ ...rows, settle: () => Promise.reject(new Error('killed')) }) })
    await dying.firing.round().catch(() => {})
    expect([await scene.ticksOf(id), await scene.history(id)]).toEqual([[], []])
    await dying[Symbol.asyncDispose]()
    await scene.one.fire()
    expect(await scene.ticksOf(id)).toEqual(['09:06:00'])
  })

  test('a tick that its jitter delays is fired when that has passed, and says no lateness for it', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => scene.add({ cron: '0 * * * *', jitterMs: 1_800_000 })))
    const dueMs = new Map<string, number>()
    scene.clock.set('2026-01-31T10:00:00.000Z')
    await scene.one.fire()
    for (const id of ids) dueMs.set(id, (await scene.row(id)).nextAtMs ?? 0)
    const offsets = [...dueMs.values()].map(ms => ms - Date.parse('2026-01-31T10:00:00.000Z'))
    expect(new Set(offsets).size).toBeGreaterThan(10)
    expect(Math.max(...offsets)).toBeLessThan(1_800_000)
    const other = await scene.open()
    for (const minute of [10, 20, 30]) {
      scene.clock.set(`2026-01-31T10:${minute}:00.000Z`)
      await Promise.all([scene.one.fire(), other.fire()])
    }
    for (const id of ids) {
      const [tick, ...more] = await scene.history(id)
      expect([tick?.tickMs, more.length]).toEqual([Date.parse('2026-01-31T10:00:00.000Z'), 0])
      expect(tick?.lateMs).toBe((tick?.atMs ?? 0) - (dueMs.get(id) ?? 0))
    }
    await other[Symbol.asyncDispose]()
  })
}

/** A process that has read what is due, and goes on after something else has happened. */
export async function readingEarly(scene: Scene, meanwhile: () => Promise<void>): Promise<Process> {
  let isDone = false
  return scene.open({
    due: rows => ({
      ...rows,
      async take(nowMs, count) {
        const found = await rows.take(nowMs, count)
        if (!isDone) await meanwhile()
        isDone = true
        return found
      },
    }),
  })
}
