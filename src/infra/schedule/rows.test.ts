import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { UniqueViolation } from '@/core/database'
import { scheduleDefaults } from '@/core/schedule/schedule'
import { ticksKeptMax } from '@/core/schedule/admin'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { createHistory, type ScheduleHistory, type TickRow } from './history'
import { createScheduleRows, type NewSchedule, type ScheduleRows } from './rows'

let count = 0
const newSchedule = (over: Partial<NewSchedule> = {}): NewSchedule => ({
  ...{
    ...scheduleDefaults,
    name: `schedule-${++count}`,
    origin: 'database',
    cron: '* * * * *',
    task: 'report.send',
    payload: { to: 'Ada' },
  },
  ...{ isPaused: false, cursorMs: 1000, nextAtMs: 2000, declaredAtMs: null, ...over },
})

onEachBacking('the rows of schedules', open => {
  let backing: Backing
  let db: OpenDatabase
  let rows: ScheduleRows
  let history: ScheduleHistory

  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    await migrateUp(db, migrations)
    rows = createScheduleRows(db)
    history = createHistory(db)
  }, 30_000)
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })

  const inserted = async (over: Partial<NewSchedule> = {}) => {
    const id = await rows.insert(newSchedule(over), 77)
    const row = await rows.get(id)
    if (!row) throw new Error('it was inserted')
    return row
  }
  const tick = (scheduleId: string, tickMs: number, over: Partial<TickRow> = {}): TickRow => ({
    ...{ scheduleId, tickMs, what: 'fired', count: 1, atMs: tickMs + 5, lateMs: 5 },
    ...{ taskId: `schedule:${scheduleId}:${tickMs}`, outcome: 'pending', ...over },
  })
  const listed = async (id: string, size = 1000) => (await history.list(id, size)).map(({ tickMs }) => tickMs)

  test('come back as they were said, by id and by name, also one that looks like an id', async () => {
    const name = 'f0f0f0f0-0000-7000-8000-000000000000'
    const said = newSchedule({ name, catchUp: { all: 24 }, payload: { text: 'ünï \' " \\ 😀', deep: [1, null, { a: true }] }, jitterMs: 5 })
    const id = await rows.insert(said, 77)
    const row = await rows.get(id)
    expect(row).toEqual({
      ...{ ...said, id, lastTickMs: null, lastTaskId: null, bufferedMs: null, missed: 0, untrimmed: 0 },
      ...{ createdAtMs: 77, updatedAtMs: 77, version: 1 },
    })
    expect(await rows.get(name)).toEqual(row as NonNullable<typeof row>)
    expect([await rows.get('nobody'), await rows.get(Bun.randomUUIDv7())]).toEqual([undefined, undefined])
  })

  test('have names of their own, and are listed by them', async () => {
    const { name } = await inserted()
    const failed = await rows.insert(newSchedule({ name }), 1).catch(thrown => thrown)
    expect([failed instanceof UniqueViolation, failed.key]).toEqual([true, 'schedule_name'])
    for (const each of ['zz-3', 'zz-1', 'zz-2']) await inserted({ name: each })
    expect((await rows.list(2, 'zz-1')).map(row => row.name)).toEqual(['zz-2', 'zz-3'])
    expect((await rows.named(['zz-3', 'zz-1', 'nobody'])).map(row => row.name).toSorted()).toEqual(['zz-1', 'zz-3'])
    expect(await rows.named([])).toEqual([])
  })

  test('are changed and removed in the version that was read only', async () => {
    const row = await inserted()
    expect(await rows.change(row.id, 1, { catchUp: 'none', isPaused: true, nextAtMs: null, updatedAtMs: 99 })).toBe(true)
    expect(await rows.get(row.id)).toEqual({ ...row, catchUp: 'none', isPaused: true, nextAtMs: null, updatedAtMs: 99, version: 2 })
    expect([await rows.change(row.id, 1, { updatedAtMs: 100 }), await rows.remove(row.id, 1)]).toEqual([false, false])
    await db.tx(tx => history.add(tx, [tick(row.id, 5)]))
    expect(await rows.remove(row.id, 2)).toBe(true)
    expect([await rows.get(row.id), await listed(row.id), await rows.remove(row.id, 2)]).toEqual([undefined, [], false])
  })

  test('that somebody has changed by hand say so, and keep no other from being read', async () => {
    const [row, other] = [await inserted({ name: 'hand-1' }), await inserted({ name: 'hand-2' })]
    for (const [column, value] of [
      ['payload', '{"to":'],
      ['catchUp', 'all:many'],
      ['overlap', 'perhaps'],
    ]) {
      await db.run(`update "schedule" set "payload" = '{}', "catchUp" = 'none', "overlap" = 'skip' where "id" = ?`, [row.id])
      await db.run(`update "schedule" set "${column}" = ? where "id" = ?`, [value as string, row.id])
      const [odd, healthy] = await rows.list(2, 'hand-0')
      expect([odd?.fault, healthy?.fault, healthy?.id]).toEqual([`its ${column} is not what it may be`, undefined, other.id])
    }
  })

  test('have a history, the newest first, a page at a time, in which a tick is once', async () => {
    const { id } = await inserted()
    await db.tx(tx => history.add(tx, [tick(id, 1000), tick(id, 2000, { what: 'missed', count: 7, taskId: null, outcome: null })]))
    await db.tx(tx => history.add(tx, []))
    expect(await history.list(id, 10)).toEqual([tick(id, 2000, { what: 'missed', count: 7, taskId: null, outcome: null }), tick(id, 1000)])
    expect(await history.list(id, 10, { tickMs: 2000, isManual: false })).toEqual([tick(id, 1000)])
    const twice = await db.tx(tx => history.add(tx, [tick(id, 3000), tick(id, 1000)])).catch(thrown => thrown)
    expect([twice instanceof UniqueViolation, await listed(id)]).toEqual([true, [2000, 1000]])
  })

  test('have runs by hand in their history, beside the ticks, though many are at once', async () => {
    const { id } = await inserted()
    const run = (n: number) => (tx: Database) => history.addManual(tx, { scheduleId: id, atMs: 1000, taskId: `run-${n}` })
    await db.tx(tx => history.add(tx, [tick(id, 1000)]))
    for (let n = 0; n < 5; n++) await db.tx(run(n))
    expect((await history.list(id, 10)).map(({ tickMs, what, taskId }) => [tickMs, what, taskId])).toEqual([
      ...[4, 3, 2, 1].map(n => [1000 + n, 'manual', `run-${n}`]),
      [1000, 'manual', 'run-0'],
      [1000, 'fired', `schedule:${id}:1000`],
    ])
  })

  test('keep of their history the last hundred, each its own', async () => {
    const [one, other] = [await inserted(), await inserted()]
    const many = (id: string, from: number) => Array.from({ length: 130 }, (_, i) => tick(id, from + i))
    await db.tx(async tx => {
      await history.add(tx, [...many(one.id, 1000), ...many(other.id, 5000)])
      await history.trim(tx, [one.id])
    })
    expect(await listed(one.id)).toEqual(Array.from({ length: ticksKeptMax }, (_, i) => 1129 - i))
    expect(await listed(other.id)).toHaveLength(130)
    await db.tx(tx => history.trim(tx, [one.id, other.id]))
    expect(await listed(other.id)).toEqual(Array.from({ length: ticksKeptMax }, (_, i) => 5129 - i))
    await db.tx(tx => history.trim(tx, []))
    // Runs by hand trim by themselves.
    for (let n = 0; n < 3; n++) await db.tx(tx => history.addManual(tx, { scheduleId: one.id, atMs: 9000, taskId: 'run' }))
    expect(await listed(one.id)).toHaveLength(ticksKeptMax)
  })

  test('drop what was buffered, and nothing else', async () => {
    const { id } = await inserted()
    const buffered = (tickMs: number) => tick(id, tickMs, { what: 'buffered', taskId: null, outcome: null })
    await db.tx(tx => history.add(tx, [buffered(1000), tick(id, 2000), buffered(3000)]))
    await db.tx(tx =>
      history.dropBuffered(
        tx,
        [1000, 2000].map(tickMs => ({ scheduleId: id, tickMs })),
      ),
    )
    expect(await listed(id)).toEqual([3000, 2000])
  })
})
