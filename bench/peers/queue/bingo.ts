import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { defineLimit } from '@/core/queue/limit'
import { defineTask, handle } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { migrateUp } from '@/infra/database/migrate'
import { createLogOn } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import type { QueueDriver } from '@/infra/queue/driver'
import { createQueue } from '@/infra/queue/queue'
import { openOwnDriver } from '@/infra/queue/worker/own-driver'
import { createWorker } from '@/infra/queue/worker'
import { claimLimitsOf } from '@/infra/queue/worker/claim-limits'
import { openConfiguredDatabase } from '@/infra/ports'
import { migrations } from '@/migrations'
import { countdown, idleMs, inParallel, payloadOf, type QueuePeer, serve } from './contract'

/** The product's queue on Redis, or on SQLite: its port, its driver and its worker, with the heartbeats in their thread. */
const redisUrl = process.env['BENCH_REDIS_URL']
const env: Record<string, string> = redisUrl
  ? { BINGO_REDIS_URL: redisUrl, BINGO_DATABASE_URL: 'mysql://nobody@127.0.0.1:1/none', BINGO_AUTH_KEY: 'k'.repeat(64) }
  : { BINGO_DATABASE_URL: `sqlite:${process.env['BENCH_SQLITE_PATH']}` }
const { config } = loadConfig({ env: { ...env, BINGO_LOG_LEVEL: 'warn' }, flags: {}, readFile: () => '' })
const log = createLogOn(line => process.stderr.write(line), 'warn')
const metrics = createMetrics({ version: 'bench', roles: [] })
const name = 'bench'
const Note = Type.Object({ serial: Type.Integer(), text: Type.String() })
const note = defineTask('note', Note, { queue: name })
const keyed = defineTask('note.keyed', Note, { queue: name, limit: defineLimit('key') })

if (!redisUrl) {
  const db = await openConfiguredDatabase(config, { log, metrics })
  await migrateUp(db, migrations)
  await db.close()
}
const { driver, close } = await openOwnDriver(config, { log, metrics })
const queue = createQueue({
  driver,
  tasks: [note, keyed],
  queues: [name],
  clock: systemClock,
  payloadMaxBytes: config.queue.payloadMaxBytes,
})

/** @param work is given the driver of the worker, through which everything goes that it says to the queue */
async function withWorker<T>(
  slots: { concurrency: number; perKey?: number | undefined },
  begun: () => void,
  ended: (count: number) => void,
  work: () => Promise<T>,
): Promise<T> {
  const told: QueueDriver = {
    ...driver,
    async exchange(of, exchange) {
      const reply = await driver.exchange(of, exchange)
      ended(exchange.finish?.length ?? 0)
      return reply
    },
  }
  const { concurrency, perKey } = slots
  const claimLimits = perKey === undefined ? undefined : claimLimitsOf({}, [defineLimit('key', { concurrency: perKey })])
  const worker = createWorker({
    ...{ driver: told, queues: { [name]: { concurrency, ...(claimLimits && { claimLimits }) } }, log, metrics },
    handlers: [handle(note, async () => begun()), handle(keyed, async () => begun())],
    leaseMs: config.queue.leaseMs,
    graceMs: 1000,
    heartbeats: { config },
  })
  await worker.start()
  try {
    return await work()
  } finally {
    await worker.stop()
  }
}

const nothing = () => {}

const peer: QueuePeer = {
  enqueue: (count, parallel) => inParallel(count, parallel, i => queue.enqueue(note, payloadOf(i))),
  async enqueueBulk(count, size, keys) {
    const item = (i: number) => ({ payload: payloadOf(i), ...(keys !== undefined && { key: `key-${i % keys}` }) })
    for (let first = 0; first < count; first += size)
      await queue.enqueueMany(
        keys === undefined ? note : keyed,
        Array.from({ length: size }, (_, i) => item(first + i)),
      )
  },
  drain(count, concurrency, perKey) {
    const { done, some } = countdown(count)
    let firstMs = 0
    const begun = () => {
      firstMs ||= performance.now()
    }
    return withWorker({ concurrency, perKey }, begun, some, async () => {
      await done
      return performance.now() - firstMs
    })
  },
  pickup(count) {
    const times: number[] = []
    let take = nothing
    return withWorker(
      { concurrency: 1 },
      () => take(),
      nothing,
      async () => {
        for (let i = 0; i <= count; i++) {
          await new Promise(resolve => setTimeout(resolve, idleMs))
          const { promise: handled, resolve } = Promise.withResolvers<void>()
          take = resolve
          const startedMs = performance.now()
          await queue.enqueue(note, payloadOf(i))
          await handled
          if (i > 0) times.push(performance.now() - startedMs)
        }
        return times
      },
    )
  },
  waiting: async () => (await driver.stats(name)).waiting,
  async clear() {
    for (;;) {
      const nonce = crypto.randomUUID().replaceAll('-', '').slice(0, 16)
      const { claimed } = await driver.exchange(name, { claim: { worker: 'clear', nonce, count: 1000, leaseMs: 60_000 } })
      if (claimed.length === 0) return
      await driver.exchange(name, { finish: claimed.map(({ id, attempt }) => ({ id, attempt, nonce, outcome: 'done' })) })
    }
  },
  async close() {
    await close()
  },
}

await serve(peer)
process.exit(0)
