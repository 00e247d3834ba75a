import { expect } from 'bun:test'
import { ownWritesMs } from '@/core/caller'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { createCipher } from '@/core/seal'
import { cacheMetrics } from '@/infra/cache/metrics'
import { openSharedCache } from '@/infra/cache/open'
import type { OpenDatabase } from '@/infra/database/driver'
import { openDatabase } from '@/infra/database/open'
import { createMetrics } from '@/infra/metrics'
import { openRedis } from '@/infra/redis'
import { until } from '../conformance/cache-fixture'
import { createTable, testSeal } from '../conformance/fixture'
import { type FakeLog, fakeLog } from '../fakes'
import { ask, type Replication, say } from '../replication'
import type { OwnServer } from '../servers'
import { auditCalls, auditConnections, auditData, recoveryLimitMs } from './audit'
import { accounts, type Load, notes, type Outcome, startLoad, transfers } from './load'

/** At full size by `bun run test:faults`, which also says what it has measured; small in the ordinary run. */
export const isFull = process.env['BINGO_TEST_FULL'] === '1'
export const hangMs = isFull ? 10_000 : 1400
export const callers = isFull ? 40 : 16
const rounds = isFull ? 3 : 1
/** Short, so that a test sees what happens beyond them. */
export const limits = { poolSize: 6, acquireTimeoutMs: 500, queryTimeoutMs: 1200, txTimeoutMs: 2000 }
/** For what has no limit of its own here. */
export const patienceMs = 10_000

/** Callers at work, while a fault happens. */
export interface Scene {
  load: Load
  db: OpenDatabase
  /** The database of this scene alone, on its server. */
  name: string
  /** The ids that the server has for this database's connections. */
  connections(): Promise<number[]>
}

export interface Setting {
  primary: OwnServer
  replicas?: readonly OwnServer[]
  caughtUp?: Replication['caughtUp']
  /** Copies are kept there, when given. */
  redis?: OwnServer
  limits?: Partial<typeof limits>
}

let scenes = 0

/**
 * Runs callers on a new database while `fault` happens, once or more, and looks whether all is well afterwards. When `fault`
 * resolves, what it did is over.
 */
export async function survive(
  title: string,
  setting: Setting,
  fault: (scene: Scene) => Promise<void>,
): Promise<{ outcome: Outcome; log: FakeLog }> {
  const { primary, replicas = [], caughtUp, redis } = setting
  const bounds = { ...limits, ...setting.limits }
  const name = `faults_${scenes++}`
  await say(primary, `create database ${name}`)
  const log = fakeLog()
  const metrics = createMetrics({ version: 'test', roles: [] })
  const redisServer = redis && openRedis(redis.url, { log })
  const cache =
    redisServer &&
    openSharedCache(redisServer, {
      memoryBytes: 1_000_000,
      timeoutMs: 50,
      cipher: createCipher(new Uint8Array(32), 'test'),
      metrics: cacheMetrics(metrics),
    })
  const database = {
    ...loadConfig({ env: {}, flags: {}, readFile: () => '' }).config.database,
    ...bounds,
    slowQueryMs: 0,
    url: `${primary.url}/${name}`,
    ...(replicas.length > 0 && { replicaUrls: replicas.map(({ url }) => `${url}/${name}`) }),
  }
  const db = await openDatabase({ database }, { clock: systemClock, seal: testSeal, cache, log, metrics })
  for (const table of [notes, accounts, transfers]) await createTable(db, table)
  for (const replica of replicas) await caughtUp?.(replica)

  const connections = async () =>
    (await ask(primary, 'select id as id from information_schema.processlist where db = ?', [name])).map(({ id }) => Number(id))
  const owed = replicas.length > 0 ? ownWritesMs : Number.POSITIVE_INFINITY
  const load = await startLoad(db, { callers, txTimeoutMs: bounds.txTimeoutMs, ownWritesMs: owed })
  const recoveries: { firstMs: number; allMs: number }[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 5; i++) await load.all(patienceMs)
      await fault({ load, db, name, connections })
      recoveries.push(await load.all(patienceMs))
    }
  } finally {
    await load.stop()
    if (isFull) console.log(report(title, recoveries, load.outcome))
  }

  for (const { allMs } of recoveries) expect(allMs).toBeLessThan(recoveryLimitMs)
  auditCalls(load, bounds)
  // Each replica has a pool of its own, and a connection for its health.
  const most = limits.poolSize + replicas.length * (limits.poolSize + 1)
  await auditConnections(metrics, most, async () => ({
    connections: (await connections()).length,
    transactions: (await ask(primary, 'select trx_id from information_schema.innodb_trx')).length,
  }))
  await auditData(db, load.known)
  await db.close()
  await cache?.close()
  await redisServer?.close()
  await until(async () => (await connections()).length === 0)
  await say(primary, `drop database ${name}`)
  return { outcome: load.outcome, log }
}

/** What was measured, for people. */
function report(title: string, recoveries: readonly { firstMs: number; allMs: number }[], outcome: Outcome): string {
  const round = (value: unknown) => JSON.stringify(value, (_, each) => (typeof each === 'number' ? Math.round(each) : each))
  const { succeeded, errors, slowestErrorMs } = outcome
  return `${title}: recovered ${round(recoveries)}, succeeded ${succeeded}, rejected ${round(errors)}, slowest rejection ${round(slowestErrorMs)}`
}
