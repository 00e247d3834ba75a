import { expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import type { OpenDatabase } from '@/infra/database/driver'
import { createMetrics } from '@/infra/metrics'
import type { Backing, BackingName } from '../backings'
import { fakeLog, metricValue } from '../fakes'
import { newThing, openAgain, thingStore, useThings } from './fixture'

/** What is said and counted of connections and statements, and how long one waits for them. On SQLite the writer is the pool. */
export function poolSuite(open: () => Promise<Backing>, name: BackingName): void {
  const things = useThings(open)
  const isServer = name !== 'sqlite'
  const places = isServer ? 2 : 1
  const counting = () => createMetrics({ version: 'test', roles: [] })

  /** Takes every place, and gives them back when told to. */
  async function fill(db: Database) {
    const letGo = Promise.withResolvers<void>()
    const work: Promise<void>[] = []
    for (let i = 0; i < places; i++) {
      const held = Promise.withResolvers<void>()
      const holding = db.tx(async tx => {
        await tx.first('select 1')
        held.resolve()
        await letGo.promise
      })
      work.push(holding)
      await held.promise
    }
    return async () => {
      letGo.resolve()
      await Promise.all(work)
    }
  }
  /** How many connections the server sees on this database. */
  const seenByServer = async (db: Database) =>
    (await db.all('select 1 from information_schema.processlist where db = database() and id <> connection_id()')).length
  const write = (db: Database) => thingStore(db).create(newThing())

  test('who finds every connection taken is told to come again, in time, and none is lost', async () => {
    const metrics = counting()
    const before = isServer ? await seenByServer(things.db) : 0
    const db = await openAgain(things.backing, { poolSize: places, acquireTimeoutMs: 150 }, { metrics })
    const letGo = await fill(db)
    expect(await metricValue(metrics, 'bingo_database_connections_in_use')).toBe(places)
    const started = performance.now()
    const refused = [write(db), db.tx(write), ...(isServer ? [db.first('select 1')] : [])]
    const ended = Promise.allSettled(refused)
    expect(await metricValue(metrics, 'bingo_database_waiting')).toBe(refused.length)
    for (const { status, reason } of (await ended) as PromiseRejectedResult[]) {
      expect([status, reason.code, reason.retryAfterSeconds]).toEqual(['rejected', 'Unavailable.Busy', 1])
    }
    expect(performance.now() - started).toBeLessThan(1000)
    // A transaction's own time may be over before.
    await expect(db.tx(write, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'Timeout.TxTimeout' })
    expect(await metricValue(metrics, 'bingo_database_waiting')).toBe(0)
    expect(await metricValue(metrics, 'bingo_database_acquire_timeouts_total')).toBe(refused.length)
    const served = write(db)
    await letGo()
    await served
    await Promise.all(Array.from({ length: 20 }, () => write(db)))
    expect(await metricValue(metrics, 'bingo_database_connections_in_use')).toBe(0)
    expect(await metricValue(metrics, 'bingo_database_connections')).toBe(2)
    expect(await metricValue(metrics, 'bingo_database_acquire_wait_seconds_count')).toBeGreaterThan(0)
    if (isServer) expect((await seenByServer(things.db)) - before).toBe(places)
    await db.close()
    expect(await metricValue(metrics, 'bingo_database_connections')).toBe(0)
  })

  test('the line is bounded too', async () => {
    const db = await openAgain(things.backing, { poolSize: places, acquireTimeoutMs: 5000 })
    const letGo = await fill(db)
    const many = Array.from({ length: isServer ? 1001 : 10_001 }, () => db.run('delete from "thing" where "id" = ?', ['-']))
    const refused = Promise.race(many)
    await expect(refused).rejects.toMatchObject({ code: 'Unavailable.Busy' })
    await letGo()
    const ended = await Promise.allSettled(many)
    expect(ended.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    await db.close()
  })

  test('a transaction that holds its connection for long is said once, with who began it where that is asked for', async () => {
    const [log, metrics] = [fakeLog(), counting()]
    const hold = async (db: OpenDatabase) => {
      const from = log.lines.length
      await db.tx(async tx => {
        await tx.first('select 1')
        while (log.lines.length === from) await Bun.sleep(1)
        await Bun.sleep(40)
      })
      return log.lines.slice(from)
    }
    const db = await openAgain(things.backing, { leakWarnMs: 20, traceCallers: true }, { log, metrics })
    const [line, ...more] = await hold(db)
    expect(more).toEqual([])
    expect(line).toMatchObject({ level: 'warn', message: 'a transaction holds its connection' })
    expect(line?.fields['heldMs']).toBeGreaterThanOrEqual(19)
    const frames = line?.fields['caller'] as string[]
    expect(frames[0]).toContain('conformance/pool.ts')
    expect(frames.join()).not.toContain('infra/database')
    expect(await metricValue(metrics, 'bingo_database_transactions_held_long_total')).toBe(1)
    const untraced = await openAgain(things.backing, { leakWarnMs: 20 }, { log, metrics })
    expect((await hold(untraced)).map(({ fields }) => Object.keys(fields))).toEqual([['heldMs']])
    await db.close()
    await untraced.close()
  })
  test('a transaction that is not long is not said', async () => {
    const log = fakeLog()
    const db = await openAgain(things.backing, { leakWarnMs: 10_000, slowQueryMs: 10_000 }, { log })
    await db.tx(write)
    const quiet = await openAgain(things.backing, { leakWarnMs: 0, slowQueryMs: 0 }, { log })
    await quiet.tx(async tx => {
      await slow(tx)
    })
    expect(log.lines).toEqual([])
    await db.close()
    await quiet.close()
  })

  /** Takes some 50 ms. */
  const slow = (db: Database, value = 'x') =>
    isServer
      ? db.all(`select sleep(0.05), ? as "value", 'a literal' as "literal"`, [value])
      : db.all(`select (${many}), ? as "value", 'a literal' as "literal"`, [value])
  const many = 'with recursive n(i) as (select 1 union all select i + 1 from n where i < 400000) select count(*) from n'

  test('a slow statement is logged with its placeholders and never with a value', async () => {
    const [log, metrics] = [fakeLog(), counting()]
    const db = await openAgain(things.backing, { slowQueryMs: 10 }, { log, metrics })
    await slow(db, 'canary')
    await db.tx(tx => slow(tx, 'canary'))
    const lines = log.lines.filter(({ fields }) => String(fields['sql']).includes('"literal"'))
    expect(lines).toHaveLength(2)
    for (const { level, message, fields } of lines) {
      expect([level, message]).toEqual(['warn', 'slow query'])
      expect(fields['durationMs']).toBeGreaterThanOrEqual(10)
      expect(fields['sql']).toContain(`? as "value", '…' as "literal"`)
    }
    expect(JSON.stringify(log.lines)).not.toMatch(/canary|a literal/)
    const long = `${' '.repeat(2000)}${isServer ? 'select sleep(0.05)' : many}`
    await db.all(long)
    expect(String(log.lines.at(-1)?.fields['sql'])).toHaveLength(2000)
    expect(await metricValue(metrics, 'bingo_database_slow_queries_total')).toBe(log.lines.length)
    await db.close()
  })

  test('statements are counted by kind, of all databases of a process together', async () => {
    const metrics = counting()
    const [one, two] = [await openAgain(things.backing, {}, { metrics }), await openAgain(things.backing, {}, { metrics })]
    await one.first('select 1')
    await two.all('select 1')
    await two.tx(async tx => {
      await tx.first('select 1')
      await tx.run('delete from "thing" where "id" = ?', ['-'])
    })
    expect(await metricValue(metrics, 'bingo_database_statements_total{kind="read"}')).toBe(3)
    expect(await metricValue(metrics, 'bingo_database_statements_total{kind="write"}')).toBe(1)
    await one.close()
    await two.close()
  })

  if (isServer) {
    test('a statement that hangs is given up in time, with its connection, and the next has another', async () => {
      const metrics = counting()
      const db = await openAgain(things.backing, { poolSize: 2, queryTimeoutMs: 500 }, { metrics })
      const [held, letGo] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const holding = things.db.tx(async tx => {
        await tx.first(`select get_lock('hung', 0)`)
        held.resolve()
        await letGo.promise
        await tx.first(`select release_lock('hung')`)
      })
      await held.promise
      const hung = Array.from({ length: 2 }, () => db.all(`select get_lock('hung', 30)`))
      for (const outcome of await Promise.allSettled(hung))
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'Timeout.QueryTimeout' } })
      expect(await metricValue(metrics, 'bingo_database_query_timeouts_total')).toBe(2)
      expect(await metricValue(metrics, 'bingo_database_connections_in_use')).toBe(0)
      expect(await db.first('select 1 as "one"')).toEqual({ one: 1 })
      // The server ends them, too: nobody waits for them any more.
      while ((await db.all(`select 1 from information_schema.processlist where info like 'select get_lock(%'`)).length > 0)
        await Bun.sleep(5)
      letGo.resolve()
      await holding
      await db.close()
    })
    test('a value that the driver refuses costs nobody a connection', async () => {
      const metrics = counting()
      const db = await openAgain(things.backing, { poolSize: 1, queryTimeoutMs: 50 }, { metrics })
      await expect(db.all('select ?', [undefined as never])).rejects.toThrow('undefined')
      // For longer than the statement may take.
      for (let i = 0; i < 10; i++) await db.all('select sleep(0.01)')
      expect(await metricValue(metrics, 'bingo_database_query_timeouts_total')).toBe(0)
      await db.close()
    })
    test('connections that the server closes are replaced', async () => {
      const metrics = counting()
      const db = await openAgain(things.backing, { poolSize: 3 }, { metrics })
      await Promise.all(Array.from({ length: 3 }, () => db.all('select sleep(0.02)')))
      expect(await metricValue(metrics, 'bingo_database_connections')).toBe(3)
      const own = await Promise.all(Array.from({ length: 3 }, () => db.first('select connection_id() as "id", sleep(0.02)')))
      for (const id of new Set(own.map(row => Number(row?.['id'])))) await things.db.run(`kill ${id}`)
      while ((await metricValue(metrics, 'bingo_database_connections')) !== 0) await Bun.sleep(1)
      await Promise.all(Array.from({ length: 12 }, () => write(db)))
      expect(await metricValue(metrics, 'bingo_database_connections_in_use')).toBe(0)
      await db.close()
    })
    test('a transaction whose connection the server closes says so, and the next one works', async () => {
      const db = await openAgain(things.backing, { poolSize: 1 })
      const values = newThing()
      const work = db.tx(async tx => {
        await thingStore(tx).create(values)
        const row = await tx.first('select connection_id() as "id"')
        await things.db.run(`kill ${Number(row?.['id'])}`)
        await tx.first('select 1').catch(() => {})
      })
      await expect(work).rejects.toMatchObject({ code: 'Unavailable.Unreachable' })
      await work.catch(() => {})
      expect(await db.tx(tx => thingStore(tx).count({ name: values.name }))).toBe(0)
      await db.close()
    })
  }
}
