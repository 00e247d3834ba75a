import { afterAll, beforeAll, describe } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import type { Config } from '@/core/config/settings'
import type { TaskHandler } from '@/core/queue/task'
import type { Service } from '@/core/service'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase } from '@/infra/ports'
import type { NewTask, QueueDriver } from '@/infra/queue/driver'
import { type EnvelopeOptions, packEnvelope } from '@/infra/queue/envelope'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { createWorker, type WorkerOptions } from '@/infra/queue/worker'
import { openOwnDriver } from '@/infra/queue/worker/own-driver'
import { migrations } from '@/migrations'
import { temporaryFolder } from './bingo'
import { type CountingMetrics, countingMetrics, type FakeLog, fakeLog, fakeMetrics } from './fakes'
import type { Numbered } from './numbered'
import { isAvailable, sharedServer } from './servers'

/** A store of tasks that is real in time: as this process has it, and as another has it. */
export interface WorkerStore {
  driver: QueueDriver
  rival: QueueDriver
  config: Config
  close(): Promise<void>
}

const openers: Record<string, () => Promise<WorkerStore>> = {
  async sqlite() {
    const folder = temporaryFolder()
    const config = configOf({ BINGO_DATABASE_URL: `sqlite:${folder.path}/test.db` })
    const tools = { log: fakeLog(), metrics: fakeMetrics() }
    const open = () => openConfiguredDatabase(config, tools)
    const [own, others] = [await open(), await open()]
    await migrateUp(own, migrations)
    const [driver, rival] = [openSqliteQueue({ db: own, ...tools }), openSqliteQueue({ db: others, ...tools })]
    return {
      ...{ driver, rival, config },
      async close() {
        await Promise.all([driver.close(), rival.close()])
        await Promise.all([own.close(), others.close()])
        folder[Symbol.dispose]()
      },
    }
  },
  redis: async () => openRedisStore((await sharedServer('redis'))?.url ?? ''),
}

export async function openRedisStore(url: string): Promise<WorkerStore> {
  const prefix = `worker-${crypto.randomUUID().slice(0, 8)}`
  const config = configOf({ BINGO_DATABASE_URL: 'mysql://nobody@127.0.0.1/none', BINGO_REDIS_URL: url, BINGO_REDIS_PREFIX: prefix })
  const tools = { log: fakeLog(), metrics: fakeMetrics() }
  const [own, others] = [await openOwnDriver(config, tools), await openOwnDriver(config, tools)]
  return {
    ...{ driver: own.driver, rival: others.driver, config },
    close: async () => void (await Promise.all([own.close(), others.close()])),
  }
}

/** Runs a suite once for each driver. */
export function onEachStore(title: string, suite: (newScene: () => Scene) => void): void {
  for (const [name, open] of Object.entries(openers)) {
    describe.skipIf(name === 'redis' && !isAvailable('redis'))(`${title} on ${name}`, () => {
      let store: WorkerStore
      beforeAll(async () => {
        store = await open()
      })
      afterAll(() => store.close())
      suite(() => newScene(store))
    })
  }
}

export interface Over extends Partial<NewTask> {
  said?: EnvelopeOptions
  headers?: Record<string, string>
  payload?: unknown
}

/** A queue of one test alone, and the workers on it. */
export interface Scene extends Omit<WorkerStore, 'close'> {
  queue: string
  /** @returns the ids, in their order */
  enqueue(task: Pick<Numbered, 'name'>, count?: number, over?: Over): Promise<string[]>
  /** Started; stopped when it goes out of scope. */
  work(handlers: readonly TaskHandler[], over?: Partial<WorkerOptions> & { concurrency?: number }): Promise<Working>
  /** How many are in which state. */
  states(): Promise<Record<'waiting' | 'scheduled' | 'active' | 'dead', number>>
}

export interface Working extends AsyncDisposable {
  worker: Service
  log: FakeLog
  metrics: CountingMetrics
  stop(): Promise<void>
  /** How many attempts of a task ended so. */
  ended(outcome: string, task?: string): number
}

/** Short enough to be waited for. */
export const leaseMs = 1200
let count = 0
const configOf = (env: Record<string, string>): Config => loadConfig({ env, flags: {}, readFile: () => '' }).config

export function newScene({ driver, rival, config }: WorkerStore): Scene {
  const queue = `q${++count}-${crypto.randomUUID().slice(0, 8)}`
  return {
    ...{ queue, driver, rival, config },
    async enqueue(task, many = 1, { said = {}, headers = {}, payload, ...over } = {}) {
      const tasks = Array.from({ length: many }, (_, n): NewTask => {
        const envelope = packEnvelope({ task: task.name, payload: payload ?? { n }, enqueuedAtMs: Date.now(), headers, said })
        return { id: `task-${++count}`, isIdKept: false, priority: 5, delayMs: 0, envelope, ...over }
      })
      await driver.enqueue(queue, tasks)
      return tasks.map(({ id }) => id)
    },
    async work(handlers, { concurrency = 4, ...over } = {}) {
      const log = fakeLog()
      const metrics = countingMetrics()
      const worker = createWorker({
        ...{ driver, handlers, leaseMs, log, metrics, graceMs: 5000 },
        queues: { [queue]: { concurrency } },
        heartbeats: { driver: over.driver ?? driver },
        limits: { abortGraceMs: 200, againMs: 50 },
        ...over,
      })
      await worker.start()
      return {
        ...{ worker, log, metrics },
        stop: worker.stop,
        ended: (outcome, task = 'number.count') => metrics.count('bingo_task_attempts_total', { queue, task, outcome }),
        [Symbol.asyncDispose]: worker.stop,
      }
    },
    async states() {
      const { waiting, scheduled, active, dead } = await driver.stats(queue)
      return { waiting, scheduled, active, dead }
    },
  }
}

export const nothing = { waiting: 0, scheduled: 0, active: 0, dead: 0 }
