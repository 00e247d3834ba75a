import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { QueueAdmin } from '@/core/queue/admin'
import type { Queue } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import type { Service } from '@/core/service'
import type { OpenDatabase } from '../database/driver'
import { isEmbedded } from '../database/open'
import type { RedisServer } from '../redis'
import { createQueueAdmin } from './admin'
import type { QueueDriver } from './driver'
import { createBell } from './outbox/bell'
import { createRelay } from './outbox/relay'
import { createOutboxRows } from './outbox/rows'
import { outboxView } from './outbox/view'
import { createQueue } from './queue'

/** The queue of this process: for modules, for operators, for whoever works it. */
export interface OpenQueue {
  queue: Queue
  admin: QueueAdmin
  driver: QueueDriver
  /** Where tasks are not in the database: hands over what transactions have left. For processes that work queues. */
  relay: Service | undefined
  close(): Promise<void>
}

export interface QueueSurroundings {
  db: OpenDatabase
  /** Of the configuration's `redis.url`. */
  redis: RedisServer | undefined
  log: Log
  metrics: Metrics
  clock: Clock
  /** What may be enqueued here. */
  tasks: readonly AnyTask[]
  /** All queues that some role works. */
  queues: readonly string[]
}

/** In the file of SQLite, or in Redis beside MySQL. */
export async function openQueue(config: Config, surroundings: QueueSurroundings): Promise<OpenQueue> {
  const { db, redis: server, log, metrics, clock, tasks, queues } = surroundings
  const { payloadMaxBytes, leaseMs, timeoutMs } = config.queue
  const { prefix } = config.redis
  const { seal } = db
  if (isEmbedded(config)) {
    const { openSqliteQueue } = await import('./sqlite/driver')
    const driver = openSqliteQueue({ db, log, metrics, clock })
    const queue = createQueue({ driver, db, tasks, queues, clock, payloadMaxBytes })
    const admin = createQueueAdmin({ driver, queues, seal, leaseMs })
    return { queue, admin, driver, relay: undefined, close: () => driver.close() }
  }
  if (!server) throw new Error('the task queue is in Redis, and there is none')
  const { openRedisQueue } = await import('./redis/open')
  const driver = await openRedisQueue({ server, prefix, timeoutMs, log, metrics })
  const bell = createBell(server, prefix)
  const outbox = createOutboxRows(db, bell.ring)
  const queue = createQueue({ driver, outbox, db, tasks, queues, clock, payloadMaxBytes })
  const admin = createQueueAdmin({ driver, outbox: { ...outbox, ...outboxView(db) }, queues, seal, leaseMs })
  const relay = createRelay({ rows: outbox, driver, bell, log, metrics })
  return { queue, admin, driver, relay, close: () => driver.close() }
}
