import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { type Queue, step } from '@/core/queue/queue'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openRedis, type RedisServer } from '@/infra/redis'
import { migrations } from '@/migrations'
import { type Backing, onEachServer } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { claim, finishAs } from '@/testing/redis-queue'
import { sharedServer } from '@/testing/servers'
import type { NewTask, QueueDriver } from '../driver'
import { createQueue } from '../queue'
import { openRedisQueue } from '../redis/open'
import { createRelay, type RelayOptions } from './relay'
import { createOutboxRows, type OutboxRows } from './rows'
import { outboxView } from './view'

const count = defineTask('number.count', Type.Object({ n: Type.Integer() }))
const queueName = 'mail'

onEachServer('what is said of few tasks', open => {
  let backing: Backing
  let db: OpenDatabase
  let redis: RedisServer
  let driver: QueueDriver
  let outbox: OutboxRows
  let queue: Queue

  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    await migrateUp(db, migrations)
    redis = openRedis((await sharedServer('redis'))?.url ?? '', { log: fakeLog() })
  }, 60_000)
  beforeEach(async () => {
    await db.run('delete from "outbox"')
    const prefix = `extras-${crypto.randomUUID().slice(0, 8)}`
    driver = await openRedisQueue({ server: redis, prefix, timeoutMs: 2000, log: fakeLog(), metrics: fakeMetrics() })
    outbox = createOutboxRows(db, () => {})
    queue = createQueue({
      ...{ driver, outbox, db, tasks: [count], queues: [queueName], clock: { nowMs: Date.now }, payloadMaxBytes: 65_536 },
    }) as Queue
  })
  afterAll(async () => {
    await redis.close()
    await db.close()
    await backing.dispose()
  })

  const steps = (many: number) => Array.from({ length: many }, (_, n) => step(count, { n }))
  const enqueueBatch = (many: number) => db.tx(tx => queue.enqueueBatch(steps(many), step(count, { n: 99 }), { tx, queue: queueName }))
  const relayed = async (over: Partial<RelayOptions> = {}) => {
    const relay = createRelay({ rows: outbox, driver, bell: { listen: () => () => {} }, log: fakeLog(), metrics: fakeMetrics(), ...over })
    await relay.start()
    await until(async () => !(await outbox.hasSome()))
    await relay.stop()
  }
  async function work(): Promise<string[]> {
    const held = await claim(driver, queueName, 1000)
    await driver.exchange(queueName, { finish: finishAs(held, { outcome: 'done', result: '1' }) })
    return held.tasks.map(({ id }) => id)
  }

  test('comes back whole, and the delay of one that waits for others begins with them', async () => {
    const over: Partial<NewTask> = {
      lane: 'limit/key',
      group: { key: 'g'.repeat(22), countMax: 3, bytesMax: 1000, delayMs: 10, delayMaxMs: 20 },
      after: { count: 3, isDoneNeeded: true },
      follower: { id: 'next', wantsResult: false },
    }
    const plain: NewTask = { id: 'plain', isIdKept: true, priority: 5, delayMs: 60_000, envelope: '["number.count",1,{}]' }
    await db.tx(tx => outbox.add(tx, queueName, [plain, { ...plain, ...over, id: 'said' }]))
    await db.run(`update "outbox" set "madeAt" = utc_timestamp(3) - interval 30 second`)
    const [first, second] = (await outbox.take()).rows.map(({ task }) => task)
    expect(Object.keys(first as NewTask).toSorted()).toEqual(Object.keys(plain).toSorted())
    expect(first?.delayMs).toBeLessThanOrEqual(30_000)
    expect(second).toEqual({ ...plain, ...over, id: 'said' })
    const shown = await outboxView(db).show('said', [queueName])
    expect(shown?.task).toMatchObject({ state: 'held', heldFor: 3, lane: 'limit/key' })
    expect((await outboxView(db).show('plain', [queueName]))?.task.state).toBe('scheduled')
    const there = await outboxView(db).held(['said', 'nobody', 'plain'])
    expect([...there]).toEqual(expect.arrayContaining(['said', 'plain'].map(id => [id, new Set([queueName])])))
    expect(there.size).toBe(2)
    expect((await outboxView(db).held([])).size).toBe(0)
  })

  test('a batch commits whole or not at all, and is worked like any other', async () => {
    const undone = db.tx(async tx => {
      await queue.enqueueBatch(steps(300), step(count, { n: 99 }), { tx, queue: queueName })
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
    expect(await outbox.hasSome()).toBe(false)
    const { tasks, last } = await enqueueBatch(300)
    await relayed()
    expect(await driver.stats(queueName)).toMatchObject({ held: 1, waiting: 300 })
    expect((await work()).toSorted()).toEqual(tasks.map(({ id }) => id))
    expect(await work()).toEqual([last.id])
  }, 30_000)

  test('whoever comes last to Redis, though it was first in the outbox, finds that the others have ended', async () => {
    const { tasks, last } = await enqueueBatch(3)
    // As when another relay has it, and is slow.
    await db.run(`update "outbox" set "takenUntil" = utc_timestamp(3) + interval 1 hour where "taskId" = ?`, [last.id])
    await relayed()
    expect(await work()).toEqual(tasks.map(({ id }) => id))
    expect(await work()).toEqual([])
    await db.run('update "outbox" set "takenUntil" = null')
    await relayed()
    expect(await work()).toEqual([last.id])
    expect(await driver.stats(queueName)).toMatchObject({ held: 0, waiting: 0, total: { done: 4 } })
  }, 30_000)

  test('those that one waits for are let into a queue that is full because of it', async () => {
    const { tasks, last } = await enqueueBatch(3)
    await relayed({ rules: { [queueName]: { backlogMax: 1 } } })
    expect(await work()).toEqual(tasks.map(({ id }) => id))
    expect(await work()).toEqual([last.id])
  }, 30_000)

  test('and pass what the full queue has no room for', async () => {
    const plain: NewTask = { id: 'last', isIdKept: true, priority: 5, delayMs: 0, envelope: '["number.count",1,{}]' }
    await driver.enqueue(queueName, [{ ...plain, after: { count: 2, isDoneNeeded: false } }])
    const refused = Array.from({ length: 250 }, (_, i) => ({ ...plain, id: `refused-${i}` }))
    const awaited = ['first', 'second'].map(id => ({ ...plain, id, follower: { id: 'last', wantsResult: false } }))
    await db.tx(tx => outbox.add(tx, queueName, [...refused, ...awaited]))
    const rules = { [queueName]: { backlogMax: 1 } }
    const relay = createRelay({ rows: outbox, driver, rules, bell: { listen: () => () => {} }, log: fakeLog(), metrics: fakeMetrics() })
    await relay.start()
    await until(async () => (await driver.stats(queueName)).waiting > 0).finally(relay.stop)
    expect(await work()).toEqual(['first', 'second'])
    expect(await work()).toEqual(['last'])
    expect((await outbox.look()).rows).toBe(250)
    expect((await outbox.take()).rows[0]?.task.id).toBe('refused-0')
  }, 30_000)

  test('a chain commits with a transaction, and goes on with the results', async () => {
    const chain = await db.tx(tx => queue.enqueueChain(steps(3), { tx, queue: queueName, id: 'the-chain' }))
    await relayed()
    for (const [i, { id }] of chain.entries()) {
      const before = chain[i - 1]
      expect(await driver.before(queueName, id)).toEqual(before ? [{ id: before.id, outcome: 'done', result: '1' }] : [])
      expect(await work()).toEqual([id])
    }
    // Said again after all is done, nothing is done again.
    await db.tx(tx => queue.enqueueChain(steps(3), { tx, queue: queueName, id: 'the-chain' }))
    await relayed()
    expect(await work()).toEqual([])
    expect(await driver.stats(queueName)).toMatchObject({ held: 0, waiting: 0 })
  }, 30_000)
})
