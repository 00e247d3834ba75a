import { afterAll, beforeAll, describe, expect } from 'bun:test'
import mysql from 'mysql2/promise'
import { testOn } from '../backings'
import { createMetrics } from '@/infra/metrics'
import { until } from '../conformance/cache-fixture'
import { failure, openAgain } from '../conformance/fixture'
import { metricValue } from '../fakes'
import type { DatabaseName } from '../installations'
import { ask, type Replication, say, startReplication } from '../replication'
import { isAvailable, type OwnServer, startOwn } from '../servers'
import { requestFaults } from './requests'
import type { Load } from './load'
import { callers, hangMs, isFull, limits, patienceMs, survive } from './scene'

/** What becomes of callers while a real server is killed, hangs, closes connections, or has no time for them. */
const startTimeoutMs = 60_000
/** What a machine with other work may add to a limit. */
const slackMs = 300
/** Where nobody is to notice anything, a disk that is busy for a moment is not to be noticed either. */
const unnoticed = { acquireTimeoutMs: 3000, txTimeoutMs: 5000 }
const testTimeoutMs = 180_000
const names = ['mariadb', 'mysql'] as const
const starting: Partial<Record<DatabaseName, Promise<Replication>>> = {}

beforeAll(async () => {
  // Both at once: each needs seconds, most of them alone.
  for (const name of names) if (isAvailable(name)) starting[name] = startReplication(name, 1)
  await Promise.all(Object.values(starting))
}, startTimeoutMs)
afterAll(async () => {
  for (const servers of await Promise.all(Object.values(starting))) await servers.stop()
}, startTimeoutMs)

for (const name of names) describe(`faults on ${name}`, () => suite(name))

function suite(name: DatabaseName) {
  const on = (title: string, work: (primary: OwnServer, servers: Replication) => Promise<unknown>) =>
    testOn(
      name,
      title,
      async () => {
        const servers = (await starting[name]) as Replication
        try {
          await work(servers.primary, servers)
        } finally {
          // The next test does not pay for this one.
          for (const server of [servers.primary, ...servers.replicas]) server.resume()
        }
      },
      testTimeoutMs,
    )
  const titled = (title: string) => `${name}, ${title}`

  on('the server is killed and started again', primary =>
    survive(titled('kill -9'), { primary }, async ({ load }) => {
      await primary.kill()
      await load.rejections(callers, patienceMs)
      await primary.start()
    }),
  )

  on('the server hangs and goes on', primary =>
    survive(titled('SIGSTOP'), { primary }, async () => {
      primary.pause()
      await Bun.sleep(hangMs)
      primary.resume()
    }),
  )

  on('while the server hangs nobody waits beyond a limit, and it is not asked to connect again and again', async primary => {
    const brief = { poolSize: 2, acquireTimeoutMs: 400, queryTimeoutMs: 600 }
    const db = await openAgain({ url: `${primary.url}/mysql` }, brief)
    await Promise.all([db.all('select sleep(0.01)'), db.all('select sleep(0.01)')])
    const broken = async () => Number((await ask(primary, `show global status like 'Aborted_connects'`))[0]?.['Value'])
    const before = await broken()
    const timed = async (work: Promise<unknown>) => {
      const beganMs = performance.now()
      const code = await failure(work)
      return { code, tookMs: performance.now() - beganMs }
    }
    primary.pause()
    const begun = await timed(db.tx(tx => tx.all('select 1'), { timeoutMs: 200 }))
    expect(begun).toEqual({ code: 'Timeout.TxTimeout', tookMs: expect.any(Number) })
    expect(begun.tookMs).toBeLessThan(200 + slackMs)
    for (let i = 0; i < (isFull ? 20 : 2); i++) {
      const waited = await Promise.all(Array.from({ length: 8 }, () => timed(db.all('select 1'))))
      for (const { code, tookMs } of waited) {
        expect(['Timeout.QueryTimeout', 'Unavailable.Unreachable', 'Unavailable.Busy']).toContain(code)
        expect(tookMs).toBeLessThan((code === 'Timeout.QueryTimeout' ? 600 : 400) + slackMs)
      }
    }
    primary.resume()
    await db.all('select 1')
    expect(await broken()).toBe(before)
    // Neither does it keep a process from stopping.
    primary.pause()
    await Promise.all(Array.from({ length: 4 }, () => failure(db.all('select 1'))))
    await Promise.all(Array.from({ length: 4 }, () => failure(db.all('select 1'))))
    const closing = await timed(db.close())
    primary.resume()
    expect(closing.tookMs).toBeLessThan(600 + slackMs)
  })

  on('a server that takes no writes any more is given up, since its address may lead to another', async primary => {
    const metrics = createMetrics({ version: 'test', roles: [] })
    const open = () => metricValue(metrics, 'bingo_database_connections')
    await say(primary, 'create database demoted', 'create table demoted.item (id int primary key)')
    // Whoever administers it may always write.
    await say(primary, `create user writer@'%' identified by 'writer'`, `grant all on demoted.* to writer@'%'`)
    const url = `${primary.url.replace('root@', 'writer:writer@')}/demoted`
    const db = await openAgain({ url }, { poolSize: 2 }, { metrics })
    await say(primary, 'set global read_only = 1')
    try {
      expect(await failure(db.run('insert into item values (1)'))).toBe('Unavailable.Unreachable')
      await until(async () => (await open()) === 0)
      expect(await failure(db.tx(tx => tx.run('insert into item values (1)')))).toBe('Unavailable.Unreachable')
      await until(async () => (await open()) === 0)
    } finally {
      await say(primary, 'set global read_only = 0')
    }
    await db.run('insert into item values (1)')
    await db.close()
    await say(primary, 'drop database demoted')
  })

  on('the server closes every connection, again and again', async primary => {
    const { outcome } = await survive(titled('kill of connections'), { primary }, async ({ db, connections }) => {
      const hung = failure(db.all('select sleep(30)'))
      const killer = await mysql.createConnection(primary.url)
      const endsAtMs = performance.now() + hangMs / 2
      while (performance.now() < endsAtMs) {
        // One that is gone by now cannot be killed.
        for (const id of await connections()) await killer.query(`kill ${id}`).catch(() => {})
      }
      await killer.end()
      expect(['Unavailable.Unreachable', 'Unavailable.Busy']).toContain(await hung)
    })
    expect(outcome.errors['Unavailable.Unreachable']).toBeGreaterThan(callers)
  })

  on('statements hang, and wait for the locks of others', async primary => {
    const { outcome } = await survive(titled('hung queries and locks'), { primary }, async ({ db, name: database }) => {
      const connect = () => mysql.createConnection(`${primary.url}/${database}`)
      const [rows, table] = [await connect(), await connect()]
      // Not by sleep(): when several of them are ended at once, MariaDB 10.11 may let every session wait for seconds.
      await rows.query(`select get_lock('hung', 0)`)
      const hung = Array.from({ length: limits.poolSize }, () => failure(db.all(`select get_lock('hung', 30)`)))
      await lockRows(rows)
      await table.query('lock tables note write')
      await Bun.sleep(hangMs)
      for (const other of [rows, table]) await other.end()
      for (const each of hung) expect(['Timeout.QueryTimeout', 'Unavailable.Busy']).toContain(await each)
    })
    expect(outcome.errors['Unavailable.Busy']).toBeGreaterThan(0)
  })

  on('every connection is taken for long', async primary => {
    const { outcome } = await survive(titled('full pool'), { primary }, async ({ db }) => {
      await Promise.all(Array.from({ length: limits.poolSize }, () => failure(db.tx(tx => tx.all('select sleep(0.8)')))))
    })
    expect(Object.keys(outcome.errors)).toEqual(['Unavailable.Busy'])
  })

  on('a replica, and then its primary, are killed and started again', (primary, { replicas: [replica], caughtUp }) => {
    if (!replica) throw new Error('there is no replica')
    return survive(titled('kill -9 with a replica'), { primary, replicas: [replica], caughtUp, limits: unnoticed }, async ({ load }) => {
      const before = rejected(load)
      await replica.kill()
      await load.all(patienceMs)
      await replica.start()
      await load.all(patienceMs)
      expect(rejected(load)).toBe(before)
      await primary.kill()
      await load.rejections(callers, patienceMs)
      await primary.start()
    })
  })

  // Of these, the tests of replicas and of the cache have the small form.
  if (isFull) {
    on('a replica, and then its primary, hang and go on', (primary, { replicas: [replica], caughtUp }) => {
      if (!replica) throw new Error('there is no replica')
      return survive(titled('SIGSTOP with a replica'), { primary, replicas: [replica], caughtUp, limits: unnoticed }, async ({ load }) => {
        const before = rejected(load)
        replica.pause()
        await Bun.sleep(hangMs)
        await load.all(patienceMs)
        replica.resume()
        await load.all(patienceMs)
        expect(rejected(load)).toBe(before)
        primary.pause()
        await Bun.sleep(hangMs)
        primary.resume()
      })
    })
  }

  // What the cache does is the same on both.
  if (isFull || name === 'mariadb') {
    for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
      on(`Redis gets ${signal}: no caller notices`, async primary => {
        await using redis = await startOwn('redis')
        const { outcome } = await survive(titled(`Redis ${signal}`), { primary, redis, limits: unnoticed }, async ({ load }) => {
          if (signal === 'SIGKILL') await redis.kill()
          else redis.pause()
          await Bun.sleep(hangMs / 2)
          await load.all(patienceMs)
          if (signal === 'SIGKILL') await redis.start()
          else redis.resume()
        })
        expect(outcome.errors).toEqual({})
      })
    }
  }

  if (isFull || name === 'mariadb')
    on('an API process answers 503 and 504 in time, and what it has answered with 201 is there', primary =>
      requestFaults(titled('HTTP'), primary),
    )
}

const rejected = ({ outcome: { errors } }: Load) => Object.values(errors).reduce((sum, count) => sum + count, 0)

/** Takes the locks of all accounts, against callers who take them in any order. */
async function lockRows(connection: mysql.Connection): Promise<void> {
  for (;;) {
    await connection.query('start transaction')
    const isLocked = await connection.query('select * from account for update').then(
      () => true,
      (thrown: { code?: string }) => {
        if (thrown.code !== 'ER_LOCK_DEADLOCK') throw thrown
        return false
      },
    )
    if (isLocked) return
  }
}
