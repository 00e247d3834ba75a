import { expect, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase } from '@/infra/ports'
import { openQueue } from '@/infra/queue/open'
import { migrations } from '@/migrations'
import { temporaryFolder } from '@/testing/bingo'
import { until } from '@/testing/conformance/cache-fixture'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { newDefinition, report } from '@/testing/schedules'
import { openSchedules } from './open'
import { createScheduleRows } from './rows'

/** Looking by itself each second, it would be as many seconds. */
const editsCount = 8
const limitMs = 4000

test('who fires is woken by what is changed in the same process', async () => {
  using folder = temporaryFolder()
  const { config } = loadConfig({ env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }, flags: {}, readFile: () => '' })
  const tools = { log: fakeLog(), metrics: fakeMetrics() }
  const db = await openConfiguredDatabase(config, tools)
  await migrateUp(db, migrations)
  const queue = await openQueue(config, { db, redis: undefined, ...tools, clock: systemClock, tasks: [], queues: ['default'] })
  const { admin, firing } = openSchedules(config, { db, queue, ...tools, clock: systemClock, tasks: [report] })
  const service = firing([])
  await service.start()
  const rows = createScheduleRows(db)
  const { id } = await admin.create(newDefinition({ cron: '0 0 1 1 *' }))
  const startedMs = performance.now()
  for (let i = 0; i < editsCount; i++) {
    await admin.pause(id)
    // What is resumed is looked at, and put off until its next tick.
    await admin.resume(id)
    await until(async () => ((await rows.get(id))?.nextAtMs ?? 0) > Date.now() + 1000)
  }
  expect(performance.now() - startedMs).toBeLessThan(limitMs)
  await service.stop()
  await queue.close()
  await db.close()
})
