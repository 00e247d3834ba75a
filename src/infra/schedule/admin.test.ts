import { describe, expect, test } from 'bun:test'
import type { AppError } from '@/core/error'
import type { ScheduleDefinition } from '@/core/schedule/admin'
import { scheduleDefaults } from '@/core/schedule/schedule'
import { onEachBacking } from '@/testing/backings'
import { newDefinition, report, sweep, useSchedules } from '@/testing/schedules'
import { createScheduleAdmin } from './admin'

const day = 86_400_000

onEachBacking('what operators do with schedules', open => {
  const { scene, kept, tasks, refused } = useSchedules(open)
  const make = (over: Partial<ScheduleDefinition> = {}) => scene.admin.create(newDefinition(over))

  test('one is made with the defaults, comes next when it is due, and is found by its id and its name', async () => {
    const made = await make({ name: 'nightly', timeZone: 'Europe/Berlin' })
    expect(made).toEqual({
      ...{ ...scheduleDefaults, id: made.id, name: 'nightly', origin: 'database', cron: '0 3 * * *', timeZone: 'Europe/Berlin' },
      ...{ task: 'report.send', payload: { to: 'Ada' }, isPaused: false, missed: 0, version: 1 },
      next: ['01', '02', '03', '04', '05'].map(at => `2026-02-${at}T02:00:00.000Z`),
      ...{ createdAt: '2026-01-31T09:05:00.000Z', updatedAt: '2026-01-31T09:05:00.000Z' },
    })
    for (const which of [made.id, 'nightly']) expect(await scene.admin.get(which)).toEqual(made)
    expect(await scene.rows.get('nightly')).toMatchObject({ cursorMs: scene.clock.nowMs(), nextAtMs: Date.parse('2026-02-01T02:00:00Z') })
    expect([await refused(scene.admin.get('nobody')), scene.rung]).toEqual(['NotFound.ScheduleNotFound', 1])
  })

  test('what would come next is shown, and nothing is saved', async () => {
    const before = await kept()
    const definition = newDefinition({ cron: '0 0 1 1 *' })
    expect(await scene.admin.preview(definition, 2)).toEqual(['2027-01-01T00:00:00.000Z', '2028-01-01T00:00:00.000Z'])
    expect(await scene.admin.preview(definition)).toHaveLength(5)
    for (const count of [0, 1001, 1.5, Number.NaN])
      expect(await refused(scene.admin.preview(definition, count))).toBe('InvalidArgument.Count')
    expect([await kept(), scene.rung]).toEqual([before, 0])
  })

  test('all that is wrong is said at once, by whoever makes, changes or looks ahead, and nothing is saved', async () => {
    const { id } = await make()
    const before = await kept()
    const large = { to: 'x'.repeat(300_000) }
    const bad = newDefinition({ cron: '61 * * * *', timeZone: 'Europe/Berln', payload: large })
    for (const said of [bad, { ...bad, payload: { to: 1, copies: 0 } }]) {
      for (const work of [() => scene.admin.create(said), () => scene.admin.update(id, said), () => scene.admin.preview(said)]) {
        const thrown: AppError = await work().catch(error => error)
        expect([thrown.code, thrown.kind]).toEqual(['Unprocessable.ScheduleInvalid', 'Unprocessable'])
        const pointers = thrown.problems.map(({ pointer }) => pointer)
        expect(pointers).toEqual(expect.arrayContaining(['/cron', '/timeZone']))
        expect(pointers.some(pointer => pointer.startsWith('/payload'))).toBe(true)
      }
    }
    expect([await kept(), scene.rung]).toEqual([before, 1])
  })

  test('what does not come for years is refused when it is said, and one that is there already goes on', async () => {
    const [{ id }, rare] = [await make(), '0 0 29 2 +THU']
    for (const work of [() => make({ cron: rare }), () => scene.admin.update(id, { cron: rare })]) {
      const thrown: AppError = await work().catch(error => error)
      expect(thrown.problems).toEqual([{ pointer: '/cron', detail: 'does not come within five years' }])
    }
    expect(await refused(scene.admin.preview(newDefinition({ cron: rare })))).toBe('Unprocessable.ScheduleInvalid')
    await scene.db.run('update "schedule" set "cron" = ?', [rare])
    expect(await scene.admin.update(id, { jitterMs: 5 })).toMatchObject({ cron: rare, jitterMs: 5 })
    expect((await scene.admin.get(id)).next[0]).toBe('2052-02-29T00:00:00.000Z')
    expect(await scene.admin.run(id)).toMatchObject({ taskId: expect.any(String) })
  })

  test('a payload that could not be enqueued is refused with its size', async () => {
    const thrown: AppError = await make({ payload: { to: 'x'.repeat(300_000) } }).catch(error => error)
    expect(thrown.problems).toEqual([
      { pointer: '/payload', detail: expect.stringContaining('is 300009 bytes of JSON, and may be 262144') },
    ])
  })

  test('a name is had by one', async () => {
    const [first, second] = [await make(), await make()]
    const before = await kept()
    const thrown: AppError = await make({ name: first.name }).catch(error => error)
    expect([thrown.code, thrown.problems]).toEqual(['Conflict.ScheduleNameTaken', [{ pointer: '/name', detail: 'is taken' }]])
    expect(await refused(scene.admin.update(second.id, { name: first.name, jitterMs: 5 }))).toBe('Conflict.ScheduleNameTaken')
    expect(await kept()).toEqual(before)
    const both = await Promise.all(Array.from({ length: 4 }, () => refused(make({ name: 'race' }))))
    expect(both.toSorted()).toEqual([...Array(3).fill('Conflict.ScheduleNameTaken'), 'done'])
  })

  test('a change leaves what it does not say, goes by the version that was seen, and changes nothing when it says nothing new', async () => {
    const made = await make({ jitterMs: 7 })
    scene.clock.advance(1000)
    const changed = await scene.admin.update(made.id, { catchUp: { all: 3 }, payload: { to: 'Eve' } }, 1)
    expect(changed).toEqual({ ...made, catchUp: { all: 3 }, payload: { to: 'Eve' }, version: 2, updatedAt: expect.any(String) })
    expect(Date.parse(changed.updatedAt) - Date.parse(made.updatedAt)).toBe(1000)
    expect(await refused(scene.admin.update(made.id, { jitterMs: 8 }, 1))).toBe('Aborted.ScheduleChanged')
    expect(await scene.admin.update(made.name, { catchUp: { all: 3 }, jitterMs: 7 })).toEqual(changed)
    expect(await refused(scene.admin.update('nobody', {}))).toBe('NotFound.ScheduleNotFound')
    expect(await refused(scene.admin.remove(made.id, 1))).toBe('Aborted.ScheduleChanged')
    expect(await scene.admin.get(made.id)).toEqual(changed)
    // Of several at the same time each is as if it had been alone.
    await Promise.all(
      [{ jitterMs: 9 }, { overlap: 'allow' as const }, { task: sweep.name, payload: {} }].map(one => scene.admin.update(made.id, one)),
    )
    expect(await scene.admin.get(made.id)).toMatchObject({ jitterMs: 9, overlap: 'allow', task: sweep.name, payload: {}, version: 5 })
  })

  test('when the times change they count from then on, and what nobody had fired is missed', async () => {
    const made = await make({ cron: '0 * * * *' })
    scene.clock.advance(3 * 3_600_000)
    await scene.admin.update(made.id, { payload: { to: 'Eve' } })
    expect(await scene.rows.get(made.id)).toMatchObject({ cursorMs: Date.parse(made.createdAt), missed: 0 })
    const changed = await scene.admin.update(made.id, { cron: '0 0 * * *' })
    expect([changed.missed, changed.next[0]]).toEqual([3, '2026-02-01T00:00:00.000Z'])
    expect(await scene.rows.get(made.id)).toMatchObject({ cursorMs: scene.clock.nowMs(), nextAtMs: Date.parse(changed.next[0] as string) })
    const { items } = await scene.admin.history(made.id)
    expect(items).toMatchObject([{ what: 'missed', count: 3, tick: made.next[0] as string }])
    expect(scene.log.lines).toMatchObject([{ level: 'warn', fields: { schedule: made.name, count: 3 } }])
  })

  test('while it is paused nothing comes, and nothing of that is missed', async () => {
    const made = await make({ cron: '0 * * * *' })
    const paused = await scene.admin.pause(made.name)
    expect(paused).toMatchObject({ isPaused: true, next: [], version: 2 })
    expect(await scene.admin.pause(made.id)).toEqual(paused)
    scene.clock.advance(3 * day)
    await scene.admin.update(made.id, { cron: '30 * * * *' })
    const resumed = await scene.admin.resume(made.id)
    expect(resumed).toMatchObject({ isPaused: false, missed: 0, version: 4 })
    expect(await scene.rows.get(made.id)).toMatchObject({ cursorMs: scene.clock.nowMs() })
    expect(await scene.admin.resume(made.id)).toEqual(resumed)
    expect(await scene.admin.history(made.id)).toEqual({ items: [] })
    // What was due before it was paused is missed.
    scene.clock.advance(2 * 3_600_000)
    expect(await scene.admin.pause(made.id)).toMatchObject({ missed: 2 })
    for (const work of ['pause', 'resume', 'run', 'history', 'remove'] as const)
      expect(await refused(scene.admin[work]('nobody'))).toBe('NotFound.ScheduleNotFound')
  })

  test('a tick that waits for the end of a task is let be when it is paused, or comes by other rules', async () => {
    for (const edit of [(id: string) => scene.admin.pause(id), (id: string) => scene.admin.update(id, { overlap: 'skip' })]) {
      const { id } = await make({ cron: '0 0 1 1 *', overlap: 'bufferOne' })
      const bufferedMs = scene.clock.nowMs()
      await scene.db.tx(async tx => {
        await scene.rows.change(id, 1, { bufferedMs, lastTaskId: 'x', updatedAtMs: bufferedMs }, tx)
        const tick = { scheduleId: id, tickMs: bufferedMs, what: 'buffered', count: 1, atMs: bufferedMs, lateMs: 0 } as const
        await scene.history.add(tx, [{ ...tick, taskId: null, outcome: null }])
      })
      scene.clock.advance(1000)
      await scene.admin.update(id, { payload: { to: 'Eve' } })
      expect(await scene.rows.get(id)).toMatchObject({ bufferedMs })
      await edit(id)
      expect(await scene.rows.get(id)).toMatchObject({ bufferedMs: null })
      expect((await scene.admin.history(id)).items).toMatchObject([{ what: 'skipped', lateMs: 1000 }])
    }
  })

  test('one is run by hand, paused or not, with an id of its own, and the history says so', async () => {
    const made = await make({ name: 'by-hand' })
    await scene.admin.pause(made.id)
    const runs = [await scene.admin.run(made.id), await scene.admin.run('by-hand')]
    expect(new Set(runs.map(({ taskId }) => taskId)).size).toBe(2)
    for (const { taskId } of runs) {
      expect(taskId).toStartWith(`schedule:${made.id}:run:`)
      const task = await scene.queue.admin.show(taskId)
      const at = new Date(scene.clock.nowMs()).toISOString()
      expect(task).toMatchObject({ task: report.name, payload: { to: 'Ada' }, headers: { schedule: 'by-hand', 'schedule-tick': at } })
    }
    const { items } = await scene.admin.history(made.id)
    expect(items.map(({ what, taskId, outcome, lateMs }) => [what, taskId, outcome, lateMs])).toEqual(
      runs.toReversed().map(({ taskId }) => ['manual', taskId, 'pending', 0]),
    )
    expect(await scene.admin.get(made.id)).not.toHaveProperty('lastTick')
  })

  test('of many who run one at the same moment each has a task, and its row', async () => {
    const [made, other] = [await make(), await make()]
    const atMs = scene.clock.nowMs()
    const runs = await Promise.all(Array.from({ length: 44 }, (_, i) => scene.admin.run(i % 11 === 10 ? other.id : made.id)))
    const own = async (id: string) => (await scene.admin.history(id)).items
    const items = await own(made.id)
    expect(items.map(({ tick }) => Date.parse(tick) - atMs)).toEqual(Array.from({ length: 40 }, (_, i) => 39 - i))
    const known = [...items, ...(await own(other.id))].map(({ taskId }) => taskId ?? '')
    expect(known.toSorted()).toEqual(runs.map(({ taskId }) => taskId).toSorted())
    expect((await tasks()).map(({ id }) => String(id))).toEqual(expect.arrayContaining(known))
  }, 30_000)

  test('one whose task there is no more is not run, and says why', async () => {
    const { id } = await make()
    await scene.db.run('update "schedule" set "task" = ?', ['report.gone'])
    const thrown: AppError = await scene.admin.run(id).catch(error => error)
    expect([thrown.code, thrown.problems[0]?.pointer]).toEqual(['Unprocessable.ScheduleInvalid', '/task'])
    expect(await scene.admin.history(id)).toEqual({ items: [] })
    expect(await scene.admin.get(id)).toMatchObject({ task: 'report.gone' })
  })

  test('what somebody has spoilt by hand is shown, listed, and mended', async () => {
    const { id } = await make()
    for (const [column, value] of [
      ['cron', 'never'],
      ['payload', '{'],
      ['timeZone', 'Nowhere'],
    ] as const)
      await scene.db.run(`update "schedule" set "${column}" = ?`, [value])
    expect(await scene.admin.get(id)).toMatchObject({ cron: 'never', next: [], payload: null })
    expect((await scene.admin.list()).items).toHaveLength(1)
    expect(await scene.admin.pause(id)).toMatchObject({ isPaused: true, missed: 0 })
    await scene.admin.update(id, newDefinition({ timeZone: 'UTC' }))
    const mended = await scene.admin.resume(id)
    expect([mended.payload, mended.next.length]).toEqual([{ to: 'Ada' }, 5])
  })

  test('one of the code is paused and run, and changed in the code only, which may not declare it any more', async () => {
    const atMs = scene.clock.nowMs()
    const { name, ...said } = newDefinition()
    const row = { ...scheduleDefaults, ...said, name, payload: said.payload, origin: 'code' as const, isPaused: false }
    const id = await scene.rows.insert({ ...row, cursorMs: atMs, nextAtMs: null, declaredAtMs: atMs }, atMs)
    const before = await kept()
    for (const work of [() => scene.admin.update(id, { jitterMs: 5 }), () => scene.admin.remove(id)])
      expect(await refused(work())).toBe('FailedPrecondition.ScheduleInCode')
    expect(await kept()).toEqual(before)
    expect(await scene.admin.pause(id)).toMatchObject({ isPaused: true, origin: 'code' })
    await scene.admin.run(id)
    scene.clock.advance(day)
    await scene.admin.remove(id)
    expect(await kept()).toEqual([[], []])
  })

  test('what fails midway is undone: a change that cannot be noted, a run whose task cannot be enqueued, or that cannot be noted', async () => {
    const made = await make({ cron: '0 * * * *' })
    scene.clock.advance(day)
    const before = [await kept(), await tasks()]
    const [fails, { history, queue }] = [() => Promise.reject(new Error('midway')), scene.options]
    const unnoted = createScheduleAdmin({ ...scene.options, history: { ...history, add: fails, addManual: fails } })
    const unqueued = createScheduleAdmin({ ...scene.options, queue: { ...queue, enqueue: fails } })
    for (const work of [
      () => unnoted.update(made.id, { cron: '30 * * * *', name: 'other' }),
      () => unnoted.pause(made.id),
      () => unnoted.run(made.id),
      () => unqueued.run(made.id),
    ])
      expect(await refused(work())).toBe('Error: midway')
    expect([await kept(), await tasks()]).toEqual(before)
    expect(scene.log.lines).toEqual([])
  })

  test('one is deleted with its history, and what it has enqueued stays', async () => {
    const [made, other] = [await make(), await make()]
    const { taskId } = await scene.admin.run(made.id)
    await scene.admin.remove(made.name, 1)
    expect((await scene.admin.list()).items).toEqual([other])
    expect((await kept())[1]).toEqual([])
    expect(await scene.queue.admin.show(taskId)).toMatchObject({ id: taskId })
    expect(await refused(scene.admin.remove(made.id))).toBe('NotFound.ScheduleNotFound')
  })

  describe('lists', () => {
    test('are in the order of their names, a page at a time', async () => {
      const names = Array.from({ length: 7 }, (_, i) => `s-${i}`)
      for (const name of names.toReversed()) await make({ name })
      const seen: string[] = []
      let pageToken: string | undefined
      do {
        const page = await scene.admin.list({ pageSize: 3, ...(pageToken !== undefined && { pageToken }) })
        seen.push(...page.items.map(({ name }) => name))
        pageToken = page.nextPageToken
      } while (pageToken !== undefined)
      expect(seen).toEqual(names)
      expect(await scene.admin.list({ pageSize: 7 })).not.toHaveProperty('nextPageToken')
      for (const pageSize of [0, -1, 1.5]) expect(await refused(scene.admin.list({ pageSize }))).toBe('InvalidArgument.PageSize')
      // How many a page has at most whoever asks over HTTP is told there, and it is fewer.
      expect(await scene.admin.list({ pageSize: -1 }).catch(({ message }) => message)).toBe('pageSize must be a whole number from 1.')
    })

    test('of ticks are the newest first, and no token opens another', async () => {
      const [made, other] = [await make(), await make()]
      const taskIds: string[] = []
      for (let i = 0; i < 5; i++) {
        taskIds.unshift((await scene.admin.run(made.id)).taskId)
        if (i % 2) scene.clock.advance(1)
      }
      const first = await scene.admin.history(made.id, { pageSize: 3 })
      const pageToken = first.nextPageToken as string
      const second = await scene.admin.history(made.name, { pageSize: 3, pageToken })
      expect([...first.items, ...second.items].map(({ taskId }) => taskId as string)).toEqual(taskIds)
      for (const work of [
        () => scene.admin.history(other.id, { pageToken }),
        () => scene.admin.list({ pageToken }),
        () => scene.admin.list({ pageToken: 'x' }),
      ])
        expect(await refused(work())).toBe('InvalidArgument.PageToken')
    })
  })
})
