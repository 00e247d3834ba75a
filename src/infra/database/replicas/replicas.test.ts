import { afterAll, beforeAll, beforeEach, describe, expect } from 'bun:test'
import { everyone } from '@/core/access'
import { asCaller, type Caller, currentCaller, ownWritesMs } from '@/core/caller'
import { type Clock, systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { controller } from '@/core/controller'
import type { AppError } from '@/core/error'
import { Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { httpApp } from '@/infra/http/app'
import { createHealth } from '@/infra/http/health'
import { createMetrics } from '@/infra/metrics'
import { testOn } from '@/testing/backings'
import { testSeal } from '@/testing/conformance/fixture'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { ask, type Replication, say, startReplication } from '@/testing/replication'
import type { DatabaseName } from '@/testing/installations'
import { freePort, isAvailable, type OwnServer } from '@/testing/servers'
import type { OpenDatabase } from '../driver'
import { openDatabase } from '../open'

const startTimeoutMs = 60_000
const readTimeoutMs = 500
/** Two at least: MariaDB takes the second that has begun for one that is over. */
const lateSeconds = 3
const longSeconds = 60

for (const name of ['mariadb', 'mysql'] as const) describe(`replicas on ${name}`, () => suite(name))

function suite(name: DatabaseName) {
  let servers: Replication
  let primary: OwnServer
  let replica: OwnServer
  let other: OwnServer

  beforeAll(async () => {
    if (!isAvailable(name)) return
    servers = await startReplication(name, 2)
    primary = servers.primary
    ;[replica, other] = servers.replicas as [OwnServer, OwnServer]
    await say(primary, 'create database shop', 'create table shop.item (id int primary key, value int not null)')
    await Promise.all(servers.replicas.map(servers.caughtUp))
  }, startTimeoutMs)
  afterAll(() => servers?.stop())
  beforeEach(async () => {
    if (servers) await say(primary, 'delete from shop.item', 'insert into shop.item values (1, 0)')
    await Promise.all(servers?.replicas.map(servers.caughtUp) ?? [])
  }, startTimeoutMs)

  const urlOf = (server: OwnServer) => `${server.url}/shop`

  async function open(replicas: readonly OwnServer[] = [replica], over: Partial<Opening> = {}): Promise<Opened> {
    const log = fakeLog()
    const metrics = createMetrics({ version: '0', roles: [] })
    const database = {
      ...loadConfig({ env: {}, flags: {}, readFile: () => '' }).config.database,
      url: urlOf(primary),
      replicaUrls: over.replicaUrls ?? replicas.map(urlOf),
      poolSize: 8,
      queryTimeoutMs: 4 * readTimeoutMs,
      replicaLagMaxMs: over.replicaLagMaxMs ?? 5000,
    }
    const db = await openDatabase({ database }, { clock: over.clock ?? systemClock, seal: testSeal, cache: undefined, log, metrics })
    const logged = (message: string) => log.lines.filter(line => line.message === message).map(({ fields }) => fields)
    return {
      db,
      outs: () => logged('a replica is not read').map(({ why }) => why),
      backs: () => logged('a replica is read again').length,
      warnings: () => log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
      count: async series => {
        const line = (await metrics.expose()).text.split('\n').find(text => text.startsWith(`${series} `))
        return Number(line?.split(' ')[1] ?? 0)
      },
      [Symbol.asyncDispose]: () => db.close(),
    }
  }

  testOn(name, 'reads go to every replica; writes, transactions and exact reads go to the primary', async () => {
    await using opened = await open([replica, other])
    const { db } = opened
    const ids = await Promise.all(Array.from({ length: 40 }, () => answeredBy(db)))
    expect([...new Set(ids)].sort()).toEqual([2, 3])
    expect(await answeredBy(db, { from: 'primary' })).toBe(1)
    expect(await db.tx(tx => answeredBy(tx))).toBe(1)
    await asCaller({}, () => db.run('insert into item values (?, ?)', [2, 2]))
    expect(await ask(primary, 'select value from shop.item where id = 2')).toEqual([{ value: 2 }])
    expect(await opened.count('bingo_database_replicas_well')).toBe(2)
    expect(await opened.count('bingo_database_reads_total{target="replica"}')).toBe(40)
    expect(await opened.count('bingo_database_reads_total{target="primary"}')).toBe(1)
    await expect(db.tx(() => db.all('select 1'))).rejects.toThrow('use the tx')
  })

  testOn(name, 'a caller reads what it has just written, 200 times in a row, on a replica that it waits for', async () => {
    await using opened = await open()
    const { db } = opened
    let byReplica = 0
    for (let i = 1; i <= 200; i++) {
      const caller: Caller = {}
      await asCaller(caller, async () => {
        if (i % 2) await db.run('update item set value = ? where id = 1', [i])
        else await db.tx(tx => tx.run('update item set value = ? where id = 1', [i]))
        const row = await db.first('select value, @@server_id as "by" from item where id = 1')
        expect(row?.['value']).toBe(i)
        if (row?.['by'] === 2) byReplica++
        expect(caller.written?.position).toMatch(name === 'mysql' ? /^[0-9a-f-]{36}:\d+$/ : /^0-1-\d+$/)
      })
    }
    // Not by the primary's help alone: the replica was waited for, and answered. All the time, but on a machine that is busy.
    expect(byReplica).toBeGreaterThan(50)
    expect(await opened.count('bingo_database_replica_waits_total{result="reached"}')).toBe(byReplica)
    expect(await opened.count('bingo_database_replica_waits_total{result="failed"}')).toBe(0)
  })

  testOn(name, 'one wait is enough for all reads that follow', async () => {
    await using opened = await open()
    const { db } = opened
    await asCaller({}, async () => {
      await db.run('update item set value = 7 where id = 1')
      for (let i = 0; i < 20; i++) expect(await itemOf(db)).toBe(7)
    })
    expect(await opened.count('bingo_database_replica_waits_total{result="reached"}')).toBe(1)
    expect(await opened.count('bingo_database_reads_total{target="replica"}')).toBe(20)
  })

  testOn(name, 'while a replica is late, a caller reads its own write at once, 200 times; others may read the old row', async () => {
    await servers.delay(replica, lateSeconds)
    try {
      await using opened = await open()
      const { db } = opened
      let old = 0
      for (let i = 1; i <= 200; i++) {
        await asCaller({}, async () => {
          await db.run('update item set value = ? where id = 1', [i])
          expect(await itemOf(db)).toBe(i)
          expect(await asCaller({}, () => itemOf(db, { from: 'primary' }))).toBe(i)
          if (Number(await asCaller({}, () => itemOf(db))) < i) old++
        })
      }
      expect(old).toBe(200)
      const late = await opened.count('bingo_database_replica_waits_total{result="late"}')
      expect(late).toBeGreaterThan(0)
      // The reads that found it late spare the next ones the wait.
      expect(late).toBeLessThan(50)
      expect(opened.outs()).toEqual([])
    } finally {
      await servers.delay(replica, 0)
    }
  })

  testOn(
    name,
    'an actor reads in its next requests what it has written, for 10 s; whoever refused it something counts as seen',
    async () => {
      await servers.delay(replica, lateSeconds)
      let skewMs = 0
      try {
        await using opened = await open([replica], { clock: { nowMs: () => Date.now() + skewMs } })
        const { db } = opened
        await asCaller({ actor: 'ada' }, () => db.run('update item set value = 5 where id = 1'))
        expect(await asCaller({ actor: 'ada' }, () => itemOf(db))).toBe(5)
        expect(await asCaller({ actor: 'bob' }, () => itemOf(db))).toBe(0)
        await asCaller({ actor: 'bob' }, async () => {
          await expect(db.run('insert into item values (1, 1)')).rejects.toThrow('unique key')
          expect(await itemOf(db)).toBe(5)
        })
        expect(await asCaller({ actor: 'bob' }, () => itemOf(db))).toBe(5)
        skewMs = ownWritesMs
        expect(await asCaller({ actor: 'ada' }, () => answeredBy(db))).toBe(2)
        // What runs outside any caller is one caller.
        await db.run('update item set value = 6 where id = 1')
        expect(await itemOf(db)).toBe(6)
      } finally {
        await servers.delay(replica, 0)
      }
    },
  )

  testOn(name, 'over HTTP a request sees what it has written, so does the next of its actor, and others do a moment later', async () => {
    await servers.delay(replica, lateSeconds)
    await using opened = await open()
    const app = shop(opened.db).listen({ hostname: '127.0.0.1', port: 0 })
    const send = async (method: string, actor: string) =>
      (await fetch(`http://127.0.0.1:${app.server?.port}/api/v1/item/${actor}`, { method })).json() as Promise<{ value: number }>
    try {
      for (let i = 1; i <= 10; i++) {
        expect(await send('POST', 'ada')).toEqual({ value: i })
        expect(await Promise.all([send('GET', 'ada'), send('GET', 'bob')])).toEqual([{ value: i }, { value: 0 }])
      }
      await until(async () => (await send('GET', 'bob')).value === 10)
    } finally {
      await app.stop()
      await servers.delay(replica, 0)
    }
  })

  testOn(name, 'of two replicas the one that has the write answers, while the other is late', async () => {
    await servers.delay(other, longSeconds)
    try {
      await using opened = await open([replica, other], { replicaLagMaxMs: 60_000 })
      const { db } = opened
      for (let i = 1; i <= 100; i++) {
        await asCaller({}, async () => {
          await db.run('update item set value = ? where id = 1', [i])
          for (let again = 0; again < 3; again++) expect(await itemOf(db)).toBe(i)
        })
      }
      const byReplica = await opened.count('bingo_database_reads_total{target="replica"}')
      expect(byReplica).toBeGreaterThan(100)
      expect(await opened.count('bingo_database_replica_waits_total{result="late"}')).toBeGreaterThan(0)
    } finally {
      await servers.delay(other, 0)
    }
  })

  testOn(name, 'what is written is there for the hooks after the commit, and for reads beside the writer', async () => {
    await servers.delay(replica, lateSeconds)
    try {
      await using opened = await open()
      const { db } = opened
      const seen: unknown[] = []
      await asCaller({}, () =>
        db.tx(async tx => {
          await tx.run('update item set value = 9 where id = 1')
          await tx.afterCommit(async () => void seen.push(await itemOf(db)))
        }),
      )
      expect(seen).toEqual([9])
    } finally {
      await servers.delay(replica, 0)
    }
  })

  testOn(name, 'a read that only a replica fails is answered by the primary, and the replica stays', async () => {
    await say(primary, 'set sql_log_bin = 0', 'create table shop.fresh (id int)')
    await using opened = await open()
    expect(await opened.db.all('select * from fresh')).toEqual([])
    expect(await answeredBy(opened.db)).toBe(2)
    expect(await opened.count('bingo_database_replica_failed_reads_total')).toBe(1)
    await expect(opened.db.all('select * from nothing')).rejects.toThrow('nothing')
    await say(primary, 'set sql_log_bin = 0', 'drop table shop.fresh')
  })

  testOn(name, 'when a replica is killed no reader notices; it is back by itself', async () => {
    await using opened = await open()
    const { db } = opened
    await using readers = streamOf(() => answeredBy(db))
    await until(() => readers.answers.includes(2))
    await replica.kill()
    await until(() => opened.outs().length > 0)
    expect(opened.outs()).toEqual(['it does not answer'])
    expect(await answeredBy(db)).toBe(1)
    expect(await opened.count('bingo_database_replicas_well')).toBe(0)
    await replica.start()
    const startedMs = performance.now()
    await until(() => opened.backs() > 0)
    expect(await answeredBy(db)).toBe(2)
    expect(performance.now() - startedMs).toBeLessThan(5000)
    expect(await readers.stop()).toEqual([])
    expect(opened.outs()).toHaveLength(1)
  })

  testOn(name, 'when a replica hangs no read takes longer than the bound; it is back by itself', async () => {
    await using opened = await open()
    const { db } = opened
    await using readers = streamOf(() => answeredBy(db))
    await until(() => readers.answers.includes(2))
    replica.pause()
    try {
      await until(() => opened.outs().length > 0)
      expect(await answeredBy(db)).toBe(1)
    } finally {
      replica.resume()
    }
    await until(() => opened.backs() > 0)
    expect(await answeredBy(db)).toBe(2)
    expect(await readers.stop()).toEqual([])
    // A turn for a connection, and the statement; then the primary.
    expect(readers.slowestMs()).toBeLessThan(2 * readTimeoutMs + 500)
  })

  testOn(name, 'a replica is not read while it is too far behind, applies nothing, or is cut off', async () => {
    await using opened = await open([replica], { replicaLagMaxMs: 1000 })
    const outAndBack = async (why: string, wrong: string, right: string) => {
      const { length } = opened.outs()
      await say(replica, wrong)
      await until(() => opened.outs().length > length)
      expect(opened.outs().at(-1)).toContain(why)
      expect(await answeredBy(opened.db)).toBe(1)
      await say(replica, right)
      await until(() => opened.backs() > length)
      expect(await answeredBy(opened.db)).toBe(2)
    }
    await outAndBack('stopped to apply', 'stop replica sql_thread', 'start replica sql_thread')
    await outAndBack('receives nothing', 'stop replica io_thread', 'start replica io_thread')
    await servers.delay(replica, longSeconds)
    await say(primary, 'update shop.item set value = 3 where id = 1')
    await until(() => opened.outs().length > 2)
    await servers.delay(replica, 0)
    await until(() => opened.backs() > 2)
    // Changing the delay stops it for a moment, which may have been seen as well.
    expect(opened.outs().filter(why => String(why).includes('behind'))).toHaveLength(1)
  })

  testOn(name, 'while the primary is away, replicas go on answering; afterwards it is written again within 2 s', async () => {
    await using opened = await open()
    const { db } = opened
    await using readers = streamOf(() => asCaller({}, () => itemOf(db)))
    await primary.kill()
    const stillMs = performance.now() + 2500
    while (performance.now() < stillMs) {
      const refused = await asCaller({}, () => db.run('update item set value = 1 where id = 1')).catch(thrown => thrown)
      expect((refused as AppError).kind).toBe('Unavailable')
      await db.ping()
      await Bun.sleep(50)
    }
    const exact = await itemOf(db, { from: 'primary' }).catch(thrown => thrown)
    expect((exact as AppError).kind).toBe('Unavailable')
    expect(opened.outs()).toEqual([])
    await primary.start()
    const startedMs = performance.now()
    await until(async () => {
      try {
        await asCaller({}, () => db.run('update item set value = 8 where id = 1'))
        return true
      } catch {
        return false
      }
    })
    expect(performance.now() - startedMs).toBeLessThan(2000)
    expect(await readers.stop()).toEqual([])
  })

  testOn(name, 'a replica that is away at the start is read once it is there', async () => {
    await using opened = await open([], { replicaUrls: [`mysql://root@127.0.0.1:${freePort()}/shop`, urlOf(other)] })
    expect(opened.outs()).toEqual(['it does not answer'])
    expect(await answeredBy(opened.db)).toBe(3)
    await replica.kill()
    await using late = await open()
    expect(await answeredBy(late.db)).toBe(1)
    await replica.start()
    await until(() => late.backs() > 0)
    expect(await answeredBy(late.db)).toBe(2)
  })

  testOn(name, 'without the right to ask for it a replica is read by its answering alone, and the log names the grant, once', async () => {
    await say(primary, `create user reader@'%' identified by 'reader'`, `grant select on shop.* to reader@'%'`)
    await servers.caughtUp(replica)
    await using opened = await open([], { replicaUrls: [`mysql://reader:reader@127.0.0.1:${replica.port}/shop`] })
    await until(async () => (await opened.count('bingo_database_replicas_well')) === 1)
    expect(await answeredBy(opened.db)).toBe(2)
    await say(replica, 'stop replica sql_thread')
    // Only the checks are prepared statements.
    const checks = async () => {
      const rows = await ask(replica, `show global status where variable_name in ('Com_stmt_prepare', 'Com_stmt_execute')`)
      return rows.reduce((sum, row) => sum + Number(row['Value']), 0)
    }
    const before = await checks()
    await until(async () => (await checks()) > before + 1)
    expect(await answeredBy(opened.db)).toBe(2)
    expect(opened.warnings()).toEqual(['a replica does not say whether it replicates, so it is read however far it is behind'])
    // Still a caller finds what it has written.
    await asCaller({}, async () => {
      await opened.db.run('update item set value = 11 where id = 1')
      expect(await itemOf(opened.db)).toBe(11)
    })
    await say(replica, 'start replica sql_thread')
  })

  if (name === 'mysql') {
    testOn(name, 'where the primary gives no positions, a caller that has written reads from it', async () => {
      await servers.withoutPositions(async () => {
        await servers.delay(replica, lateSeconds)
        await using opened = await open()
        for (let i = 1; i <= 20; i++) {
          const caller: Caller = {}
          await asCaller(caller, async () => {
            await opened.db.run('update item set value = ? where id = 1', [i])
            expect(await itemOf(opened.db)).toBe(i)
            expect(await answeredBy(opened.db)).toBe(1)
          })
          expect(caller.written).toEqual({ position: undefined, atMs: expect.any(Number) })
          expect(await asCaller({}, () => answeredBy(opened.db))).toBe(2)
        }
        expect(await opened.count('bingo_database_replica_waits_total{result="late"}')).toBe(0)
      })
    })
  }
}

const Item = Type.Object({ value: Type.Integer() }, { additionalProperties: false })

/** An API whose callers say who they are. */
function shop(db: OpenDatabase) {
  const declared = (operationId: string) => ({
    params: Type.Object({ actor: Type.String() }),
    response: { 200: Item },
    access: [everyone()],
    detail: { operationId, summary: operationId },
  })
  const isSaidToBe = (actor: string) => Object.assign(currentCaller() ?? {}, { actor })
  const items = controller({ prefix: '/item', tags: ['Item'] })
    .post(
      '/:actor',
      async ({ params }) => {
        isSaidToBe(params.actor)
        await db.run('update item set value = value + 1 where id = 1')
        return { value: Number(await itemOf(db)) }
      },
      declared('add'),
    )
    .get(
      '/:actor',
      async ({ params }) => {
        isSaidToBe(params.actor)
        return { value: Number(await itemOf(db)) }
      },
      declared('show'),
    )
  const log = fakeLog()
  const readiness = new Readiness()
  const health = createHealth(readiness, [], log)
  const tools = { log, metrics: fakeMetrics(), readiness, health, bodyLimitBytes: 1024, hasCallers: true }
  return httpApp('api', '/api/v1', [items], tools)
}

interface Opening {
  replicaUrls: string[]
  replicaLagMaxMs: number
  clock: Clock
}

interface Opened extends AsyncDisposable {
  db: OpenDatabase
  /** Why replicas were taken out, in order. */
  outs(): unknown[]
  backs(): number
  warnings(): string[]
  /** @param series `bingo_x_total{why="y"}` */
  count(series: string): Promise<number>
}

type Reading = Pick<OpenDatabase, 'first'>
const answeredBy = async (db: Reading, options?: { from: 'primary' }) =>
  (await db.first('select @@server_id as "by"', [], options))?.['by'] as number
const itemOf = async (db: Reading, options?: { from: 'primary' }) =>
  (await db.first('select value from item where id = 1', [], options))?.['value']

const untilTimeoutMs = 20_000

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + untilTimeoutMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${untilTimeoutMs} ms: ${holds}`)
    await Bun.sleep(10)
  }
}

/** Readers that go on until told to stop. */
function streamOf(read: () => Promise<unknown>) {
  const answers: unknown[] = []
  const errors: unknown[] = []
  let slowestMs = 0
  let isOver = false
  const reader = async () => {
    while (!isOver) {
      const startedMs = performance.now()
      await read().then(
        answer => answers.push(answer),
        thrown => errors.push(thrown),
      )
      slowestMs = Math.max(slowestMs, performance.now() - startedMs)
      await Bun.sleep(1)
    }
  }
  const running = Promise.all(Array.from({ length: 12 }, reader))
  const stop = async () => {
    isOver = true
    await running
    return errors
  }
  return { answers, slowestMs: () => slowestMs, stop, [Symbol.asyncDispose]: async () => void (await stop()) }
}
