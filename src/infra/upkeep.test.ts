import { expect, test } from 'bun:test'
import { dayMs, monthMs, systemClock } from '@/core/clock'
import { scheduleDefaults } from '@/core/schedule/schedule'
import { ticksKeptMax } from '@/core/schedule/admin'
import { onEachBacking } from '@/testing/backings'
import { fakeLog } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { createOutboxRows } from './queue/outbox/rows'
import { createHistory } from './schedule/history'
import { createScheduleRows, type NewSchedule } from './schedule/rows'
import { createUpkeep } from './upkeep'

const schedule = (name: string, over: Partial<NewSchedule> = {}): NewSchedule => ({
  ...scheduleDefaults,
  ...{ name, origin: 'database', cron: '* * * * *', task: 'a.task', payload: {}, isPaused: false },
  ...{ cursorMs: 0, nextAtMs: 60_000, declaredAtMs: null, ...over },
})

onEachBacking('the upkeep of the house', (open, name) => {
  const scene = useMigrated(open)

  test('what the outbox gave up 30 days ago is removed and named, and nothing else of it', async () => {
    const log = fakeLog()
    const upkeep = createUpkeep(scene.db, { log, clock: systemClock })
    if (name === 'sqlite') {
      expect(await upkeep.removeGivenUp(100)).toBe(0)
      return
    }
    const outbox = createOutboxRows(scene.db, () => {})
    const ids = ['waits', 'new', 'awaited', 'old-1', 'old-2', 'old-3']
    const tasks = ids.map(id => ({ id, isIdKept: false, priority: 5, delayMs: 0, envelope: '["a.task",1,{}]' }))
    await scene.db.tx(tx =>
      outbox.add(
        tx,
        'mail',
        tasks.map(task => (task.id === 'awaited' ? { ...task, follower: { id: 'old-1', wantsResult: false } } : task)),
      ),
    )
    const giveUp = (id: string, ago: string) =>
      scene.db.run(`update "outbox" set "claimedAt" = "madeAt", "gaveUpAt" = utc_timestamp(3) - interval ${ago} where "taskId" = ?`, [id])
    await giveUp('new', '30 day + interval 1 minute')
    for (const id of ids.slice(2)) await giveUp(id, '30 day - interval 1 minute')

    expect(await upkeep.removeGivenUp(2)).toBe(2)
    expect(await upkeep.removeGivenUp(2)).toBe(1)
    expect(await upkeep.removeGivenUp(2)).toBe(0)
    expect((await scene.db.all('select "taskId" from "outbox" order by "seq"')).map(({ taskId }) => taskId)).toEqual([
      'waits',
      'new',
      'awaited',
    ])
    expect(log.lines.map(({ level, fields }) => [level, fields])).toEqual([
      ['warn', { ids: ['old-1', 'old-2'] }],
      ['warn', { ids: ['old-3'] }],
    ])
  })

  test('schedules that no code has declared for 30 days are removed with their history, and no others', async () => {
    const log = fakeLog()
    const upkeep = createUpkeep(scene.db, { log, clock: systemClock })
    const [rows, history, nowMs] = [createScheduleRows(scene.db), createHistory(scene.db), Date.now()]
    const ago = (ms: number) => ({ origin: 'code', declaredAtMs: nowMs - ms }) as const
    const old = [
      schedule('old.1', ago(monthMs + dayMs)),
      schedule('old.2', { ...ago(2 * monthMs), isPaused: true }),
      schedule('old.3', ago(nowMs)),
    ]
    const others = [schedule('code', ago(monthMs - dayMs)), schedule('database'), schedule('now', ago(0))]
    for (const each of [...old, ...others]) {
      const scheduleId = await rows.insert(each, nowMs)
      await scene.db.tx(tx => history.addManual(tx, { scheduleId, atMs: nowMs, taskId: 'a-task' }))
    }
    expect([await upkeep.removeUndeclared(2), await upkeep.removeUndeclared(2), await upkeep.removeUndeclared(2)]).toEqual([2, 1, 0])
    expect((await rows.list(10)).map(({ name }) => name)).toEqual(['code', 'database', 'now'])
    expect(await scene.db.all('select 1 from "scheduleTick"')).toHaveLength(3)
    expect(log.lines).toMatchObject([
      { level: 'info', fields: { names: ['old.1', 'old.2'] } },
      { level: 'info', fields: { names: ['old.3'] } },
    ])
    // Nothing is left of them for the other sweep.
    expect(await upkeep.cutHistory(100)).toBe(0)
  })

  test('the history of schedules that nobody fires is cut to the last ticks, and nothing is left of that of those that are gone', async () => {
    const upkeep = createUpkeep(scene.db, { log: fakeLog(), clock: systemClock })
    const [rows, history] = [createScheduleRows(scene.db), createHistory(scene.db)]
    const idle = await rows.insert(schedule('idle', { isPaused: true }), 0)
    const over = await rows.insert(schedule('over', { nextAtMs: null }), 0)
    const fired = await rows.insert(schedule('fired'), 0)
    const gone = Bun.randomUUIDv7()
    const surplus = 7
    const ticks = (scheduleId: string) =>
      Array.from({ length: ticksKeptMax + surplus }, (_, i) => ({
        ...({ scheduleId, tickMs: i * 1000, what: 'fired', count: 1, atMs: i * 1000, lateMs: 0 } as const),
        ...{ taskId: null, outcome: null },
      }))
    for (const id of [idle, over, fired, gone]) {
      await scene.db.tx(tx => history.add(tx, ticks(id)))
      await scene.db.run('update "schedule" set "untrimmed" = ? where "id" = ?', [surplus, id])
    }
    const kept = async (id: string) => (await history.list(id, 1000)).map(({ tickMs }) => tickMs / 1000)
    const all = ticks(fired).map(({ tickMs }) => tickMs / 1000)
    expect([await upkeep.cutHistory(2), await upkeep.cutHistory(2), await upkeep.cutHistory(2)]).toEqual([2, 1, 0])
    expect([await kept(gone), await kept(fired)]).toEqual([[], all.toReversed()])
    for (const id of [idle, over]) expect(await kept(id)).toEqual(all.slice(surplus).toReversed())
    expect(await rows.list(10)).toMatchObject([
      {},
      {},
      { name: 'fired', untrimmed: surplus },
      { name: 'idle', untrimmed: 0 },
      {},
      { untrimmed: 0 },
    ])
  })
})
