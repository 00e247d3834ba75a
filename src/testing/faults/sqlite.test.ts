import { expect, test } from 'bun:test'
import { createMetrics } from '@/infra/metrics'
import { temporaryFolder } from '../bingo'
import { createTable, openAgain } from '../conformance/fixture'
import { metricValue } from '../fakes'
import { auditCalls, auditData, recoveryLimitMs } from './audit'
import { accounts, notes, startLoad, transfers } from './load'
import { callers, hangMs, limits, patienceMs } from './scene'

/** Takes the lock in the middle of a change, says so, and never gives it back. */
const holder = `
  const { Database } = require('bun:sqlite')
  const file = new Database(process.argv[1])
  file.run('pragma busy_timeout = 5000')
  file.run('begin immediate')
  file.run('update "account" set "balance" = 0')
  console.log('held')
  setInterval(() => {}, 1000)
`

test('another process holds the lock and is killed: writes are Unavailable meanwhile, reads go on, and nothing of it is kept', async () => {
  using folder = temporaryFolder()
  const path = `${folder.path}/faults.db`
  const metrics = createMetrics({ version: 'test', roles: [] })
  const db = await openAgain({ url: `sqlite:${path}` }, limits, { metrics })
  for (const table of [notes, accounts, transfers]) await createTable(db, table)
  const load = await startLoad(db, { callers, txTimeoutMs: limits.txTimeoutMs, ownWritesMs: Number.POSITIVE_INFINITY })
  await load.all(patienceMs)
  const other = Bun.spawn([process.execPath, '-e', holder, path], { stdout: 'pipe', stderr: 'inherit' })
  await other.stdout.getReader().read()
  await load.rejections(callers, patienceMs)
  await Bun.sleep(hangMs)
  other.kill('SIGKILL')
  await other.exited
  const { allMs } = await load.all(patienceMs)
  await load.stop()
  expect(allMs).toBeLessThan(recoveryLimitMs)
  expect(Object.keys(load.outcome.errors)).toEqual(['Unavailable.Busy'])
  expect(Object.keys(load.outcome.slowestErrorMs)).not.toContain('read')
  expect(Object.keys(load.outcome.slowestErrorMs)).not.toContain('list')
  auditCalls(load, limits)
  expect(await metricValue(metrics, 'bingo_database_connections_in_use')).toBe(0)
  await auditData(db, load.known)
  await db.close()
}, 60_000)
