import { expect } from 'bun:test'
import { systemClock } from '@/core/clock'
import type { Queue } from '@/core/queue/queue'
import { handle } from '@/core/queue/task'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import { createBell } from '@/infra/queue/outbox/bell'
import { createOutboxRows } from '@/infra/queue/outbox/rows'
import { createQueue } from '@/infra/queue/queue'
import { openRedisQueue } from '@/infra/queue/redis/open'
import type { QueueDriver } from '@/infra/queue/driver'
import { createWorker } from '@/infra/queue/worker'
import { openRedis } from '@/infra/redis'
import { migrations } from '@/migrations'
import { until } from '../../conformance/cache-fixture'
import { createTable, openAgain } from '../../conformance/fixture'
import { fakeLog, fakeMetrics } from '../../fakes'
import { say } from '../../replication'
import type { OwnServer } from '../../servers'
import { isFull } from '../scene'
import { orders, placedOrders, placeOrder, ship } from './order'
import { type RunningRelay, type Standstill, startRelay } from './relay-process'

/** Callers that place orders, their outbox in MySQL, a worker on Redis that ships them, and relays as processes of their own. */
export interface OutboxScene {
  db: OpenDatabase
  queue: Pick<Queue, 'enqueue'>
  driver: QueueDriver
  /** How often each order was shipped. */
  runs: ReadonlyMap<string, number>
  /** In a transaction. @returns the id */
  place(): Promise<string>
  relay(standstill?: Standstill): Promise<RunningRelay>
  waiting(): Promise<number>
  /** How many a relay has tried to hand over, and could not. */
  putBack(): Promise<number>
  /** Until others take what a relay that is dead had taken. */
  passTaken(): Promise<void>
  /** Resolves when the outbox is empty, and the queue too. @throws unless each order there is was shipped once, and nothing else */
  audit(title: string): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

let scenes = 0
const concurrency = 16
const settleLimitMs = 60_000

export async function openOutboxScene(primary: OwnServer, redis: OwnServer): Promise<OutboxScene> {
  const name = `outbox_${scenes++}`
  await say(primary, `create database ${name}`)
  const url = `${primary.url}/${name}`
  const log = fakeLog()
  const metrics = fakeMetrics()
  const db = await openAgain({ url }, { queryTimeoutMs: 5000 }, { clock: systemClock })
  await migrateUp(db, migrations)
  await createTable(db, orders)
  const server = openRedis(redis.url, { log })
  const driver = await openRedisQueue({ server, prefix: name, timeoutMs: 2000, log, metrics })
  const bell = createBell(server, name)
  const outbox = createOutboxRows(db, bell.ring)
  const queue = createQueue({ driver, outbox, db, tasks: [ship], queues: ['default'], clock: systemClock, payloadMaxBytes: 262_144 })
  const runs = new Map<string, number>()
  const worker = createWorker({
    ...{ driver, log, metrics, leaseMs: 30_000, graceMs: 5000 },
    queues: { default: { concurrency } },
    heartbeats: { driver },
    handlers: [handle(ship, async ({ orderId }) => void runs.set(orderId, (runs.get(orderId) ?? 0) + 1))],
  })
  await worker.start()
  const relays: RunningRelay[] = []

  const counted = async (rows: string) => Number((await db.first(`select count(*) as "n" from ${rows}`, [], { from: 'primary' }))?.['n'])
  const waiting = () => counted('"outbox"')
  async function isIdle() {
    const { waiting: ready, scheduled, active } = await driver.stats('default')
    return ready + scheduled + active === 0
  }

  return {
    ...{ db, queue, driver, runs, waiting },
    putBack: () => counted('"outbox" where "claimedAt" is not null and "takenUntil" <= utc_timestamp(3)'),
    place: () => db.tx(tx => placeOrder(tx, queue)),
    async relay(standstill) {
      const relay = await startRelay(url, redis.url, name, standstill)
      relays.push(relay)
      return relay
    },
    async passTaken() {
      // At full size others wait for it.
      if (!isFull) await db.run('update "outbox" set "takenUntil" = "claimedAt"')
    },
    async audit(title) {
      await until(async () => (await waiting()) === 0 && (await isIdle()), settleLimitMs)
      const placed = await placedOrders(db)
      const lost = [...placed].filter(id => !runs.has(id))
      const twice = [...runs.values()].reduce((sum, count) => sum + count - 1, 0)
      if (isFull) console.log(`${title}: ${placed.size} orders, ${lost.length} lost, ${twice} shipped twice`)
      expect(lost).toEqual([])
      expect([...runs.keys()].filter(id => !placed.has(id))).toEqual([])
      expect(twice).toBe(0)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(relays.map(relay => relay.kill()))
      await worker.stop()
      await driver.close()
      await server.close()
      await db.close()
      await say(primary, `drop database ${name}`)
    },
  }
}
