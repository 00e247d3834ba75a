import { expect, test } from 'bun:test'
import { defineTask } from '@/core/queue/task'
import { tickTaskId } from '@/core/schedule/schedule'
import { Type } from '@/core/schema'
import { createHistory } from '@/infra/schedule/history'
import type { Backing } from '../../backings'
import { claimed, end, report, tidy, useScene } from './fixture'

/** What cannot be fired holds up nobody else, and is said. */
export function troubleSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)
  async function minute(): Promise<void> {
    scene.clock.move(60_000)
    await scene.one.fire()
  }

  test('a row that was changed by hand into nonsense is told of, and fired once it is mended', async () => {
    const nonsense = [
      ['cron', 'every day'],
      ['timeZone', 'Mars/Olympus'],
      ['payload', '{"to":'],
      ['catchUp', 'all:many'],
      ['overlap', 'perhaps'],
    ] as const
    const ids: string[] = []
    for (const [column, value] of nonsense) {
      const id = await scene.add({ name: `odd-${column.toLowerCase()}` })
      await scene.db.run(`update "schedule" set "${column}" = ? where "id" = ?`, [value, id])
      ids.push(id)
    }
    const healthy = await scene.add({ name: 'healthy' })
    await minute()
    expect(await scene.ticksOf(healthy)).toEqual(['09:06:00'])
    const said = scene.one.log.lines.filter(({ level }) => level === 'error')
    expect(said.map(({ fields }) => fields['schedule']).toSorted()).toEqual([
      ...['odd-catchup', 'odd-cron', 'odd-overlap', 'odd-payload', 'odd-timezone'],
    ])
    // Not asked again at once.
    scene.clock.move(30_000)
    await scene.one.fire()
    expect(scene.one.log.lines.filter(({ level }) => level === 'error')).toHaveLength(5)
    await scene.db.run(
      `update "schedule" set "cron" = '* * * * *', "timeZone" = 'UTC', "payload" = '{"to":"Ada"}', "catchUp" = 'none', "overlap" = 'allow'`,
    )
    scene.clock.move(29_000)
    await scene.one.fire()
    for (const id of ids) expect(await scene.told(id)).toEqual([])
    scene.clock.move(1000)
    await scene.one.fire()
    for (const id of ids) expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 fired'])
  })

  test('a task that this process does not know is left to others for half a minute, and its ticks are missed then', async () => {
    const known = defineTask('report.print', Type.Object({ to: Type.String() }))
    const other = await scene.open({ tasks: [known] })
    const [left, lost] = [await scene.add({ task: known.name }), await scene.add({ name: 'lost', task: 'report.burn' })]
    const healthy = await scene.add()
    await minute()
    expect([await scene.told(left), await scene.told(lost), await scene.told(healthy)]).toEqual([[], [], ['09:06:00 fired']])
    await other.fire()
    expect([await scene.told(left), await scene.told(lost)]).toEqual([['09:06:00 fired'], []])
    scene.clock.move(30_000)
    await scene.one.fire()
    expect(await scene.told(lost)).toEqual(['09:06:00 missed'])
    const row = await scene.row(lost)
    expect([row.missed, row.cursorMs, row.lastTaskId]).toEqual([1, Date.parse('2026-01-31T09:06:00Z'), null])
    expect(
      scene.one.log.lines.filter(({ level }) => level === 'error').map(({ fields }) => [fields['schedule'], fields['reason']]),
    ).toEqual([['lost', 'no module of this process declares the task report.burn']])
    expect(await scene.ticksOf(lost)).toEqual([])
    // The same is not said with each tick.
    for (let i = 0; i < 3; i++) await minute()
    expect(scene.one.log.lines.filter(({ fields }) => fields['schedule'] === 'lost')).toHaveLength(1)
    expect((await scene.row(lost)).missed).toBeGreaterThan(1)
    await other[Symbol.asyncDispose]()
  })

  test('payloads that are refused are missed, and the others of the same task are enqueued', async () => {
    // As after a deployment of a narrower schema.
    const narrow = defineTask(report.name, Type.Object({ to: Type.Literal('Ada') }))
    const process = await scene.open({ tasks: [narrow, tidy] })
    const ids = [
      ...[await scene.add(), await scene.add({ payload: { to: 'Grace' } })],
      ...[await scene.add(), await scene.add({ payload: { to: 'x'.repeat(300_000) } }), await scene.add({ task: tidy.name, payload: {} })],
    ]
    scene.clock.move(60_000)
    await process.fire()
    const told = await Promise.all(ids.map(scene.told))
    expect(told.map(([only]) => only)).toEqual(['fired', 'missed', 'fired', 'missed', 'fired'].map(what => `09:06:00 ${what}`))
    expect(await Promise.all(ids.map(async id => (await scene.ticksOf(id)).length))).toEqual([1, 0, 1, 0, 1])
    for (const id of ids) expect((await scene.row(id)).cursorMs).toBe(scene.clock.nowMs())
    expect(process.metrics.count('bingo_schedule_ticks_total', { what: 'fired' })).toBe(3)
    expect(process.metrics.count('bingo_schedule_ticks_total', { what: 'missed' })).toBe(2)
    await process[Symbol.asyncDispose]()
  })

  test('a tick that is in the history already is not fired again, whatever the cursor says', async () => {
    const [odd, healthy] = [await scene.add({ name: 'odd' }), await scene.add()]
    const tickMs = Date.parse('2026-01-31T09:06:00Z')
    await scene.db.tx(tx =>
      createHistory(scene.db).add(tx, [
        { scheduleId: odd, tickMs, what: 'fired', count: 1, atMs: tickMs, lateMs: 0, taskId: 'before', outcome: 'done' },
      ]),
    )
    await minute()
    expect([await scene.ticksOf(odd), await scene.ticksOf(healthy)]).toEqual([[], ['09:06:00']])
    expect(scene.one.log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields['schedule'])).toEqual(['odd'])
    await minute()
    expect([await scene.told(odd), await scene.ticksOf(odd)]).toEqual([['09:06:00 fired', '09:07:00 fired'], ['09:07:00']])
  })

  /** The cursor of a schedule is where it was when it was made, and the history knows of these ticks, as after a restore of one table. */
  async function known(scheduleId: string, ...times: string[]): Promise<void> {
    const ticks = times.map(time => Date.parse(`2026-01-31T${time}Z`))
    const fired = { what: 'fired', count: 1, lateMs: 0, taskId: 'before', outcome: 'done' } as const
    await scene.db.tx(tx =>
      createHistory(scene.db).add(
        tx,
        ticks.map(tickMs => ({ ...fired, scheduleId, tickMs, atMs: tickMs })),
      ),
    )
  }

  test('ticks beside those that are in the history already are decided as ever, before and after them', async () => {
    const [dense, old] = [await scene.add({ cron: '* * * * * *' }), await scene.add()]
    await known(dense, '09:05:02', '09:05:03', '09:05:05')
    await known(old, '09:06:00', '09:20:00')
    scene.clock.move(6000)
    await scene.one.fire()
    const seconds = [1, 2, 3, 4, 5, 6].map(second => `09:05:0${second}`)
    expect([await scene.told(dense), await scene.ticksOf(dense)]).toEqual([
      seconds.map(time => `${time} fired`),
      ['09:05:01', '09:05:04', '09:05:06'],
    ])
    expect((await scene.row(dense)).nextAtMs).toBe(scene.clock.nowMs() + 1000)
    scene.clock.set('2026-01-31T09:20:00.000Z')
    await scene.one.fire()
    expect(await scene.told(old)).toEqual(['09:06:00 fired', '09:07:00 missed 12', '09:19:00 fired', '09:20:00 fired'])
    expect([await scene.ticksOf(old), (await scene.row(old)).missed]).toEqual([['09:19:00'], 12])
  })

  test('what waits for the end of a task is neither lost nor fired twice when the history knows of ticks that are due', async () => {
    const id = await scene.add({ cron: '* * * * * *', overlap: 'bufferOne' })
    for (let second = 0; second < 2; second++) {
      scene.clock.move(1000)
      await scene.one.firing.round()
    }
    expect(await scene.told(id)).toEqual(['09:05:01 fired', '09:05:02 buffered'])
    await known(id, '09:05:03')
    await scene.db.run('update "schedule" set "cursorMs" = "cursorMs" - 1000')
    await scene.one.queue.admin.cancel(tickTaskId(id, Date.parse('2026-01-31T09:05:01Z')))
    scene.clock.move(2000)
    for (let rounds = 0; rounds < 5; rounds++) await scene.one.firing.round()
    expect(await scene.told(id)).toEqual(['09:05:01 fired', '09:05:02 fired', '09:05:03 fired', '09:05:04 buffered'])
    // That of the first is cancelled.
    expect(await scene.ticksOf(id)).toEqual(['09:05:02'])
  })

  test('one that fails by itself is put off, and the rest of its transaction goes on', async () => {
    const ids: string[] = []
    for (let i = 0; i < 9; i++) ids.push(await scene.add())
    const [, , bad = ''] = ids
    const process = await scene.open({
      due: rows => ({
        ...rows,
        settle(tx, settled) {
          const isFired = settled.some(({ row, lastTaskId }) => row.id === bad && lastTaskId !== null)
          return isFired ? Promise.reject(new Error('it does not fit')) : rows.settle(tx, settled)
        },
      }),
    })
    scene.clock.move(60_000)
    await process.fire()
    for (const id of ids) expect(await scene.ticksOf(id)).toEqual(id === bad ? [] : ['09:06:00'])
    expect((await scene.row(bad)).nextAtMs).toBe(scene.clock.nowMs() + 60_000)
    expect(process.warnings()).toEqual(['a schedule cannot be fired; it is tried again'])
    scene.clock.move(60_000)
    await scene.one.fire()
    expect(await scene.ticksOf(bad)).toEqual(['09:06:00', '09:07:00'])
    await process[Symbol.asyncDispose]()
  })
}

/** Where the queue is in the database, and may be full when a tick comes. */
export function fullSuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)

  test('a tick that finds its queue full waits until it has room, and those of other queues do not', async () => {
    const process = await scene.open({ rules: { default: { backlogMax: 3 } } })
    const [first, second, third] = [await scene.add(), await scene.add(), await scene.add()]
    const other = await scene.add({ task: tidy.name, payload: {} })
    scene.clock.move(60_000)
    await process.fire()
    // One that has room for one takes all of a call.
    expect(await scene.accepted()).toHaveLength(4)
    for (let second = 0; second < 61; second++) {
      scene.clock.move(1000)
      await process.fire()
    }
    const told = ['09:06:00 fired']
    for (const id of [first, second, third]) expect(await scene.told(id)).toEqual(told)
    expect(await scene.told(other)).toEqual(['09:06:00 fired', '09:07:00 fired'])
    expect(process.warnings()).toEqual(['the queue is full; ticks of schedules wait until it has room'])
    const { driver } = process.queue
    await end(driver, 'default', await claimed(driver, 'default'))
    scene.clock.move(1000)
    await process.fire()
    for (const id of [first, second, third]) {
      expect(await scene.told(id)).toEqual(['09:06:00 fired', '09:07:00 fired'])
      expect((await scene.history(id)).at(-1)?.lateMs).toBe(2000)
    }
    await process[Symbol.asyncDispose]()
  })
}
