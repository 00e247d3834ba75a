import { afterAll, beforeAll, describe } from 'bun:test'
import type { Task, TaskHandler } from '@/core/queue/task'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { Service } from '@/core/service'
import type { NewTask, QueueDriver } from '@/infra/queue/driver'
import { type EnvelopeOptions, packEnvelope } from '@/infra/queue/envelope'
import { createWorker, type WorkerOptions } from '@/infra/queue/worker'
import { modelStore } from './conformance/queue/model'
import { type CountingMetrics, countingMetrics, type FakeLog, fakeLog } from './fakes'

/** A store of tasks that is real in time: as this process has it, and as another has it. */
export interface WorkerStore {
  driver: QueueDriver
  rival: QueueDriver
  close(): Promise<void>
}

const openers: Record<string, () => Promise<WorkerStore>> = {
  async model() {
    const store = modelStore({ nowMs: Date.now })
    return { driver: store.open(), rival: store.open(), close: async () => {} }
  },
}

/** Runs a suite once for each driver. */
export function onEachStore(title: string, suite: (newScene: () => Scene) => void): void {
  for (const [name, open] of Object.entries(openers)) {
    describe(`${title} on ${name}`, () => {
      let store: WorkerStore
      beforeAll(async () => {
        store = await open()
      })
      afterAll(() => store.close())
      suite(() => newScene(store))
    })
  }
}

/** Of these tests; its payload is a number. */
export type Numbered = Task<{ n: number }>
export const numbered = (name = 'number.count', defaults: Parameters<typeof defineTask>[2] = {}): Numbered =>
  defineTask(name, Type.Object({ n: Type.Integer() }, { additionalProperties: false }), defaults)

export interface Over extends Partial<NewTask> {
  said?: EnvelopeOptions
  headers?: Record<string, string>
  payload?: unknown
}

/** A queue of one test alone, and the workers on it. */
export interface Scene {
  queue: string
  driver: QueueDriver
  rival: QueueDriver
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

function newScene({ driver, rival }: WorkerStore): Scene {
  const queue = `q${++count}-${crypto.randomUUID().slice(0, 8)}`
  return {
    ...{ queue, driver, rival },
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
