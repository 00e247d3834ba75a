import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { dayMs, systemClock } from '@/core/clock'
import { aliveMs, processesMax } from '@/core/processes'
import { type Backing, onEachBacking } from '@/testing/backings'
import { temporaryFolder } from '@/testing/bingo'
import { until } from '@/testing/conformance/cache-fixture'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { migrations } from '@/migrations'
import type { OpenDatabase } from '../database/driver'
import { migrateUp } from '../database/migrate'
import { openProcesses } from './registry'

setDefaultTimeout(30_000)

onEachBacking('the list of processes', open => {
  let backing: Backing
  let db: OpenDatabase
  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    await migrateUp(db, migrations)
  }, 60_000)
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })
  beforeEach(() => db.run('delete from "process"'))

  const log = fakeLog()
  const newProcess = (roles: readonly string[], { clock = systemClock, database = db, beatEveryMs = 20 } = {}) =>
    openProcesses(database, { clock, log, roles, version: '1.2.3', beatEveryMs })
  const seenAgoMs = (id: string, ms: number) => db.run('update "process" set "seenAtMs" = "seenAtMs" - ? where "id" = ?', [ms, id])

  test('has each from its start to its stop, those of a role together', async () => {
    const [second, first, scheduler] = [newProcess(['api', 'admin']), newProcess(['api', 'admin']), newProcess(['scheduler'])]
    expect(await second.processes.list()).toEqual([])
    for (const { beating } of [scheduler, second, first]) await beating.start()
    const listed = await first.processes.list()
    expect(listed.map(({ id }) => id)).toEqual([second, first, scheduler].map(({ processes }) => processes.own.id))
    expect(listed[0]).toMatchObject({ roles: ['api', 'admin'], version: '1.2.3', pid: process.pid, isAlive: true })
    expect(listed[0]?.host).not.toBe('')
    expect(Math.abs(Date.parse(listed[0]?.startedAt ?? '') - Date.now())).toBeLessThan(5000)
    await second.beating.stop()
    await second.beating.stop()
    expect((await first.processes.list()).map(({ id }) => id)).not.toContain(second.processes.own.id)
    for (const { beating } of [scheduler, first]) await beating.stop()
    expect(await first.processes.list()).toEqual([])
  })

  test('says who was not seen for a while, until it is seen again', async () => {
    const [watching, away] = [newProcess(['admin']), newProcess(['api'], { beatEveryMs: 1_000_000 })]
    for (const { beating } of [watching, away]) await beating.start()
    const state = async () => (await watching.processes.list()).find(({ id }) => id === away.processes.own.id)
    await seenAgoMs(away.processes.own.id, aliveMs - 5000)
    expect(await state()).toMatchObject({ isAlive: true })
    await seenAgoMs(away.processes.own.id, 6000)
    expect(await state()).toMatchObject({ isAlive: false })
    await watching.beating.stop()
    await away.beating.stop()
  })

  test('goes by one clock, whatever the clocks of the processes say', async () => {
    if (db.dialect.name === 'sqlite') return // There is one machine, and its clock.
    const late = newProcess(['api'], { clock: { nowMs: () => Date.now() - 3_600_000 } })
    const watching = newProcess(['admin'])
    for (const { beating } of [late, watching]) await beating.start()
    expect((await watching.processes.list()).map(({ isAlive }) => isAlive)).toEqual([true, true])
    expect((await late.processes.list()).map(({ isAlive }) => isAlive)).toEqual([true, true])
    for (const { beating } of [late, watching]) await beating.stop()
  })

  test('has one again that was swept while it was away, and not those that crashed more than a day ago', async () => {
    const swept = newProcess(['api'])
    const crashed = newProcess(['api'], { beatEveryMs: 1_000_000 })
    for (const { beating } of [swept, crashed]) await beating.start()
    const own = swept.processes.own.id
    const startedAt = (await swept.processes.list()).find(({ id }) => id === own)?.startedAt
    await db.run('delete from "process" where "id" = ?', [own])
    await until(async () => (await swept.processes.list()).some(({ id }) => id === own))
    expect((await swept.processes.list()).find(({ id }) => id === own)?.startedAt).toBe(startedAt ?? '')
    await seenAgoMs(crashed.processes.own.id, dayMs - 10_000)
    const next = newProcess(['api'])
    await next.beating.start()
    expect((await next.processes.list()).map(({ id }) => id)).toContain(crashed.processes.own.id)
    await seenAgoMs(crashed.processes.own.id, 20_000)
    const last = newProcess(['api'])
    await last.beating.start()
    expect((await last.processes.list()).map(({ id }) => id)).not.toContain(crashed.processes.own.id)
    for (const { beating } of [swept, next, last]) await beating.stop()
    await crashed.beating.stop()
  })

  test('has those that were seen last, when more have crashed than anybody reads of', async () => {
    const alive = newProcess(['admin'])
    await alive.beating.start()
    const rows = Array.from({ length: processesMax + 5 }, (_, i) => `('${crypto.randomUUID()}', 'api', '1', 'h', ${i}, 1000, ${1000 + i})`)
    await db.run(`insert into "process" ("id", "roles", "version", "host", "pid", "startedAtMs", "seenAtMs") values ${rows.join(', ')}`)
    const listed = await alive.processes.list()
    expect([listed.length, listed.filter(({ isAlive }) => isAlive).length]).toEqual([processesMax, 1])
    await alive.beating.stop()
  })
})

test('a process starts and goes on while the list cannot be written, says so once, and is listed when it can be', async () => {
  using folder = temporaryFolder()
  const db = await openAgain({ url: `sqlite:${folder.path}/bingo.db` })
  const log = fakeLog()
  // There is no table yet.
  let beats = 0
  const clock = {
    nowMs() {
      beats++
      return systemClock.nowMs()
    },
  }
  const { processes, beating } = openProcesses(db, { clock, log, roles: ['api'], version: '1', beatEveryMs: 10 })
  await beating.start()
  await until(() => beats >= 5)
  expect(log.lines.map(({ message }) => message)).toEqual(['that this process is alive could not be noted'])
  await migrateUp(db, migrations)
  await until(() => log.lines.length > 1)
  expect(log.lines.at(-1)?.message).toBe('this process is listed again')
  expect((await processes.list()).map(({ id }) => id)).toEqual([processes.own.id])
  await beating.stop()
  await db.close()
})
