import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openRedis, type RedisServer } from '@/infra/redis'
import { migrations } from '@/migrations'
import { type Backing, onEachServer } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { openAgain } from '@/testing/conformance/fixture'
import { type CountingMetrics, countingMetrics, fakeLog, type FakeLog, fakeMetrics } from '@/testing/fakes'
import { type OwnServer, startOwn } from '@/testing/servers'
import type { NewTask, QueueDriver } from '../driver'
import { openRedisQueue } from '../redis/open'
import { createBell } from './bell'
import { createRelay, type RelayOptions } from './relay'
import { createOutboxRows, type OutboxRows } from './rows'

let count = 0
const task = (over: Partial<NewTask> = {}): NewTask => {
  const id = `task-${++count}`
  return { id, isIdKept: false, priority: 5, delayMs: 0, envelope: `["a.task",1,${JSON.stringify(id)}]`, ...over }
}

onEachServer('a relay', open => {
  let backing: Backing
  let db: OpenDatabase
  let redis: OwnServer
  /** Of the process that enqueues, and of the one that relays. */
  let enqueuing: RedisServer
  let relaying: RedisServer
  let driver: QueueDriver
  let outbox: OutboxRows
  let prefix: string
  let log: FakeLog
  let metrics: CountingMetrics
  let stops: (() => Promise<void>)[]

  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    await migrateUp(db, migrations)
    redis = await startOwn('redis')
  }, 30_000)
  afterAll(async () => {
    await db.close()
    await backing.dispose()
    await redis.stop()
  })
  beforeEach(async () => {
    await db.run('delete from "outbox"')
    prefix = `relay-${++count}`
    log = fakeLog()
    metrics = countingMetrics()
    const quiet = fakeLog()
    enqueuing = openRedis(redis.url, { log: quiet })
    relaying = openRedis(redis.url, { log: quiet })
    driver = await openRedisQueue({ server: relaying, prefix, timeoutMs: 1000, log: quiet, metrics: fakeMetrics() })
    outbox = createOutboxRows(db, createBell(enqueuing, prefix).ring)
    stops = []
  })
  afterEach(async () => {
    for (const stop of stops.toReversed()) await stop()
    await driver.close()
    await enqueuing.close()
    await relaying.close()
  })

  const add = (...tasks: NewTask[]) => db.tx(tx => outbox.add(tx, 'mail', tasks))
  async function relay(over: Partial<RelayOptions> = {}): Promise<void> {
    const rows = createOutboxRows(db, () => {})
    const service = createRelay({ rows, driver, bell: createBell(relaying, prefix), log, metrics, ...over })
    await service.start()
    stops.push(() => service.stop())
  }
  const stopped = async () => {
    for (const stop of stops.splice(0)) await stop()
  }
  const claim = async (most = 1000) => {
    const nonce = `nonce-${String(++count).padStart(10, '0')}`
    const { claimed } = await driver.exchange('mail', { claim: { worker: 'test', nonce, count: most, leaseMs: 60_000 } })
    return claimed.map(({ id, attempt }) => ({ id, attempt, nonce }))
  }
  const finish = (held: Awaited<ReturnType<typeof claim>>) =>
    driver.exchange('mail', { finish: held.map(each => ({ ...each, outcome: 'done' as const })) })
  const enqueued = async () => (await driver.stats('mail')).total.enqueued
  const isEmpty = async () => !(await db.first('select "seq" from "outbox" limit 1'))
  const warnings = () => log.lines.filter(({ level }) => level === 'warn' || level === 'error').map(({ message }) => message)

  test('adds members of groups to them, each once, though it hands them over again', async () => {
    const group = { key: 'g'.repeat(22), countMax: 10, bytesMax: 10_000, delayMs: 60_000, delayMaxMs: 60_000 }
    const members = ['first', 'second', 'third'].map(envelope => task({ envelope, group }))
    await add(...members.slice(0, 2))
    await relay()
    await until(isEmpty)
    // As after a relay that was killed before it had dropped its rows.
    await add(...members)
    await until(isEmpty)
    expect((await driver.stats('mail')).scheduled).toBe(1)
    expect((await driver.show('mail', members[0]?.id ?? ''))?.envelope).toBe('first\nsecond\nthird')
    expect([
      metrics.count('bingo_outbox_relayed_total', { status: 'joined' }),
      metrics.count('bingo_outbox_relayed_total', { status: 'duplicate' }),
    ]).toEqual([2, 2])
  })

  test('hands over what commits as soon as it does, though another process enqueues it, and in its order', async () => {
    await relay()
    const asking = enqueuing.connect('asking')
    const heardBy = () => asking.call(1000, 'PUBLISH', `${prefix}:outbox`, '').then(Number, () => 0)
    await until(async () => (await heardBy()) > 0)
    const waits: number[] = []
    for (let i = 0; i < 20; i++) {
      const own = task()
      await add(own)
      const committedMs = performance.now()
      await until(async () => (await claim())[0]?.id === own.id)
      waits.push(performance.now() - committedMs)
    }
    // Far below the second that it takes by looking, on a machine with other work.
    expect(waits.toSorted((a, b) => a - b)[10]).toBeLessThan(300)

    const many = Array.from({ length: 700 }, () => task())
    await add(...many)
    await until(isEmpty)
    expect((await claim()).map(({ id }) => id)).toEqual(many.map(({ id }) => id))
    expect(metrics.count('bingo_outbox_relayed_total', { status: 'enqueued' })).toBe(720)
    expect(warnings()).toEqual([])
  })

  test('finds by itself what nobody told it of', async () => {
    await relay({ bell: { listen: () => () => {} } })
    await add(task())
    await until(isEmpty)
    expect(await enqueued()).toBe(1)
  })

  test('and others at the same time hand over each task once', async () => {
    const tasks = Array.from({ length: 2000 }, () => task())
    for (let i = 0; i < tasks.length; i += 500) await add(...tasks.slice(i, i + 500))
    await Promise.all([relay(), relay(), relay()])
    await until(isEmpty)
    expect(await enqueued()).toBe(2000)
    expect(metrics.count('bingo_outbox_relayed_total', { status: 'duplicate' })).toBe(0)
  })

  test('that died after it had handed over, even when the task has ended since, does not double it', async () => {
    // It marks, hands over, and is gone before it deletes.
    const dying = { ...outbox, drop: () => Promise.reject(new Error('killed')) }
    await relay({ rows: dying })
    await add(task())
    await until(async () => (await enqueued()) === 1)
    await stopped()
    await finish(await claim())
    expect((await driver.stats('mail')).total.done).toBe(1)

    await db.run(`update "outbox" set "takenUntil" = utc_timestamp(3) - interval 1 second`)
    await relay()
    await until(isEmpty)
    expect([await enqueued(), await claim()]).toEqual([1, []])
    expect(metrics.count('bingo_outbox_relayed_total', { status: 'duplicate' })).toBe(1)
  })

  test('that died before it handed over loses nothing', async () => {
    await add(task())
    await outbox.take()
    await db.run(`update "outbox" set "takenUntil" = utc_timestamp(3) - interval 1 second`)
    await relay()
    await until(isEmpty)
    expect(await enqueued()).toBe(1)
  })

  test('keeps tasks while Redis is away, marks no more of them than it had begun with, and goes on when it is back', async () => {
    await relay()
    await redis.kill()
    for (let i = 0; i < 5; i++) await add(task())
    await until(() => warnings().includes('the outbox cannot be relayed; its tasks stay there'))
    for (let i = 0; i < 5; i++) await add(task())
    await until(() => metrics.count('bingo_outbox_failures_total') >= 3)
    expect((await outbox.look()).rows).toBe(10)
    const marked = await db.all('select "seq" from "outbox" where "claimedAt" is not null')
    expect(marked.length).toBeLessThanOrEqual(5)

    await redis.start()
    await until(isEmpty, 15_000)
    expect(await enqueued()).toBe(10)
    expect(log.lines.map(({ message }) => message)).toContain('the outbox is relayed again')
  }, 30_000)

  test('gives up loudly what was marked too long ago, and hands over the rest', async () => {
    const [old, fresh] = [task(), task()]
    await add(old, fresh)
    await outbox.take()
    await db.run(`update "outbox" set "takenUntil" = null, "claimedAt" = utc_timestamp(3) - interval 24 hour where "taskId" = ?`, [old.id])
    await db.run(`update "outbox" set "takenUntil" = null where "taskId" = ?`, [fresh.id])
    await relay()
    await until(async () => (await enqueued()) === 1)
    expect((await claim()).map(({ id }) => id)).toEqual([fresh.id])
    const said = log.lines.find(({ level }) => level === 'error')
    expect([said?.message, said?.fields['ids']]).toEqual([expect.stringContaining('bingo task fsck'), [old.id]])
    expect(metrics.count('bingo_outbox_given_up_total')).toBe(1)
    expect((await outbox.givenUp('mail', 10)).map(({ id }) => id)).toEqual([old.id])

    expect(await outbox.retry(old.id)).toBe(true)
    await until(isEmpty)
    expect((await claim()).map(({ id }) => id)).toEqual([old.id])
  })

  test('is not held up by one task that cannot be handed over', async () => {
    // Something else has the name of its unique key, so Redis refuses it, and a call with it.
    const unique = { key: 'f'.repeat(22), forMs: 60_000 }
    const asking = enqueuing.connect('asking')
    await until(() => asking.runId !== undefined)
    await asking.call(1000, 'HSET', `${prefix}:{mail}:u:${unique.key}`, 'a', 1)
    await add(task(), task({ unique }), task())
    await relay()
    await until(async () => (await enqueued()) === 2)
    await until(() => warnings().length > 0)
    expect(warnings()).toEqual(['a task of the outbox cannot be handed over; it is tried again'])
    await until(async () => (await outbox.look()).rows === 1)
  })

  test('a delay goes on from when the task was enqueued, and a key is unique among what is handed over', async () => {
    const unique = { key: 'k'.repeat(22), forMs: 60_000 }
    await add(task({ delayMs: 60_000 }), task({ unique }), task({ unique }))
    await db.run(`update "outbox" set "madeAt" = utc_timestamp(3) - interval 50 second where "delayMs" > 0`)
    await relay()
    await until(isEmpty)
    expect(metrics.count('bingo_outbox_relayed_total', { status: 'unique' })).toBe(1)
    const { tasks } = await driver.list('mail', 'scheduled', 10)
    const leftMs = (tasks[0]?.atMs ?? 0) - Date.now()
    expect(leftMs).toBeGreaterThan(5000)
    expect(leftMs).toBeLessThan(11_000)
  })

  test('shows how many wait, and for how long', async () => {
    await add(task(), task())
    await db.run(`update "outbox" set "madeAt" = utc_timestamp(3) - interval 90 second`)
    await relay({ driver: { ping: () => Promise.reject(new Error('away')), enqueue: () => Promise.reject(new Error('away')) } })
    await until(() => metrics.gaugeOf('bingo_outbox_rows') === 2)
    expect(metrics.gaugeOf('bingo_outbox_oldest_seconds')).toBeGreaterThanOrEqual(89)
    expect(metrics.gaugeOf('bingo_outbox_given_up_rows')).toBe(0)
  })

  test('keeps what a full queue has no room for, in its order, and asks seldom; other queues go on', async () => {
    let asked = 0
    let isFull = true
    const bounded: RelayOptions['driver'] = {
      ping: driver.ping,
      enqueue(queue, tasks, rule) {
        if (queue !== 'mail') return driver.enqueue(queue, tasks, rule)
        asked++
        expect(rule?.backlogMax).toBe(7)
        return isFull ? Promise.resolve(tasks.map(({ id }) => ({ id, status: 'full' }))) : driver.enqueue(queue, tasks)
      },
    }
    const many = Array.from({ length: 500 }, () => task())
    await add(...many)
    await relay({ driver: bounded, rules: { mail: { backlogMax: 7 } } })
    await until(() => asked > 0)
    const beganMs = performance.now()
    const others: NewTask[] = []
    while (performance.now() - beganMs < 1500) {
      const [own, waiting] = [task(), task()]
      others.push(own)
      many.push(waiting)
      await db.tx(async tx => {
        await outbox.add(tx, 'other', [own])
        await outbox.add(tx, 'mail', [waiting])
      })
      await until(async () => (await driver.stats('other')).total.enqueued === others.length)
    }
    expect(others.length).toBeGreaterThan(5)
    expect(asked).toBeLessThanOrEqual(6)
    await until(async () => (await outbox.look()).rows === many.length)
    // Nobody knows of a task that was marked too long ago whether it was handed over; of these everybody does.
    await until(async () => !(await db.first('select "seq" from "outbox" where "claimedAt" is not null limit 1')))
    expect(metrics.count('bingo_outbox_full_total', { queue: 'mail' })).toBeGreaterThan(0)
    expect(metrics.count('bingo_outbox_failures_total')).toBe(0)
    expect(warnings()).toEqual(['the queue is full; tasks of the outbox wait until it has room'])

    isFull = false
    await until(isEmpty, 20_000)
    expect((await claim()).map(({ id }) => id)).toEqual(many.map(({ id }) => id))
    expect(log.lines.map(({ message }) => message)).toContain('the queue has room again')
  }, 30_000)

  test('hands over what another relay had behind the rows of a full queue, while that is full', async () => {
    await driver.enqueue('mail', [task()])
    await add(...Array.from({ length: 250 }, () => task()))
    await db.tx(tx => outbox.add(tx, 'other', [task()]))
    // As after a relay that was killed: it is looked past meanwhile, and the queue is tried again and is full again.
    await db.run(
      `update "outbox" set "claimedAt" = utc_timestamp(3), "takenUntil" = utc_timestamp(3) + interval 2 second where "queue" = 'other'`,
    )
    await relay({ rules: { mail: { backlogMax: 1 } } })
    await until(async () => (await driver.stats('other')).total.enqueued === 1, 12_000)
    await until(async () => (await outbox.look()).rows === 250)
    expect(await enqueued()).toBe(1)
  }, 20_000)

  test('hands over what there is room for, and keeps the rest', async () => {
    const bounded: RelayOptions['driver'] = {
      ping: driver.ping,
      async enqueue(queue, tasks) {
        const [first, ...others] = tasks
        const replies = first ? await driver.enqueue(queue, [first]) : []
        return [...replies, ...others.map(({ id }) => ({ id, status: 'full' as const }))]
      },
    }
    const [first, second] = [task(), task()]
    await add(first, second)
    await relay({ driver: bounded })
    await until(async () => (await outbox.look()).rows === 1)
    expect((await claim()).map(({ id }) => id)).toEqual([first.id])
    await until(isEmpty)
    expect((await claim()).map(({ id }) => id)).toEqual([second.id])
  })
})
