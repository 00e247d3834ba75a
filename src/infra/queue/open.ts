import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { QueueAdmin } from '@/core/queue/admin'
import type { Queue } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import type { SharedRule } from '@/core/role'
import type { Service } from '@/core/service'
import type { OpenDatabase } from '../database/driver'
import { isEmbedded } from '../database/open'
import type { RedisServer } from '../redis'
import { createQueueAdmin } from './admin'
import type { QueueDriver } from './driver'
import { openDriver } from './open-driver'
import { createBell } from './outbox/bell'
import { createRelay } from './outbox/relay'
import { createOutboxRows } from './outbox/rows'
import { outboxView } from './outbox/view'
import { createQueue } from './queue'
import { createWaits } from './wait'

/** The queue of this process: for modules, for operators, for whoever works it. */
export interface OpenQueue {
  queue: Queue
  /** The same queue for these tasks, whatever else may be enqueued here. */
  enqueuing(tasks: readonly AnyTask[]): Pick<Queue, 'enqueue' | 'enqueueMany'>
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
  /** What holds of them in all processes. */
  rules?: Readonly<Record<string, SharedRule>> | undefined
}

/** The driver, and on MySQL the outbox before it. */
export async function openQueue(config: Config, surroundings: QueueSurroundings): Promise<OpenQueue> {
  const { db, redis, log, metrics, clock, tasks, queues, rules = {} } = surroundings
  const { payloadMaxBytes, leaseMs } = config.queue
  const driver = await openDriver(config, { db, redis }, { log, metrics, clock })
  const bell = isEmbedded(config) || !redis ? undefined : createBell(redis, config.redis.prefix)
  const outbox = bell && createOutboxRows(db, bell.ring)
  const view = outbox && outboxView(db)
  const waits = createWaits({ driver, outbox: view, db, queues })
  const enqueuing = (some: readonly AnyTask[]) => createQueue({ driver, outbox, db, tasks: some, queues, rules, clock, payloadMaxBytes })
  return {
    queue: { ...enqueuing(tasks), wait: waits.wait },
    enqueuing,
    admin: createQueueAdmin({ driver, outbox: outbox && view && { ...outbox, ...view }, queues, seal: db.seal, leaseMs, clock }),
    driver,
    relay: outbox && createRelay({ rows: outbox, driver, rules, bell, log, metrics }),
    close() {
      waits.close()
      return driver.close()
    },
  }
}
