import { expect } from 'bun:test'
import type { Database } from '@/core/database'
import type { QueueAdmin } from '@/core/queue/admin'
import { limitsOf } from '@/core/queue/limit'
import type { Enqueued, EnqueueOptions, Queue, Step } from '@/core/queue/queue'
import type { AnyTask, Task, TaskHandler, TaskMiddleware } from '@/core/queue/task'
import type { SharedRule } from '@/core/role'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp, needsMigrating } from '@/infra/database/migrate'
import { createQueueAdmin } from '@/infra/queue/admin'
import { createQueue } from '@/infra/queue/queue'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { createWaits } from '@/infra/queue/wait'
import { claimLimitsOf } from '@/infra/queue/worker/claim-limits'
import { migrations } from '@/migrations'
import { temporaryFolder } from './bingo'
import { openAgain } from './conformance/fixture'
import { type FakeClock, fakeClock } from './fake-clock'
import { type FakeLog, fakeLog, fakeMetrics } from './fakes'
import { attemptsMaxDefault, drain, type DrainedAttempt } from './queue-drain'

/**
 * The task queue for tests of what enqueues and handles tasks: the real one, in a file of SQLite, with a clock that stands still. Nothing is
 * run before `drain`, or, with `isInline`, everything at once.
 */
export interface TestQueue extends AsyncDisposable {
  /** For the module that is tested. */
  queue: Queue
  admin: QueueAdmin
  /** Where the tasks are: for transactions that enqueue some. */
  db: OpenDatabase
  /** Moved on, it makes due what was delayed or is to be tried again. */
  clock: FakeClock
  log: FakeLog
  /** What does tasks, besides the handlers that it was opened with: for those of a module, which is made with this queue. */
  handle(handlers: readonly TaskHandler[]): void
  /**
   * Runs the handlers until nothing is left to be done now; with `andScheduled` it moves the clock on to whatever comes, until nothing comes any
   * more. @returns the attempts in the order in which they ended
   * @throws Error after `attemptsMax` attempts, 1,000 by default, or 10 s of real time without an end
   */
  drain(options?: { andScheduled?: boolean; attemptsMax?: number }): Promise<DrainedAttempt[]>
  /** What was enqueued since the beginning, or since `forget`, of one task or all; no duplicates, and of transactions what they committed. */
  enqueued<P>(task: Task<P>): EnqueuedTask<P>[]
  enqueued(): EnqueuedTask<unknown>[]
  /** Fails the test unless such a task was enqueued. @param payload and @param options may hold matchers of bun:test; of options only what is said counts */
  expectEnqueued<P>(task: Task<P>, payload?: P, options?: EnqueueOptions): void
  /** Fails the test when any was enqueued, or any of one task. */
  expectNoneEnqueued(task?: AnyTask): void
  forget(): void
}

export interface EnqueuedTask<P> {
  id: string
  task: string
  payload: P
  /** As they were said, without `tx`. */
  options: Omit<EnqueueOptions, 'tx'>
}

export interface TestQueueOptions {
  /** What may be enqueued; that of the handlers is. */
  tasks?: readonly AnyTask[]
  handlers?: readonly TaskHandler[]
  /** Besides those of the tasks, and what holds of them. */
  queues?: Readonly<Record<string, SharedRule>>
  /** Where the tasks are to be; it stays open. A new one when absent. */
  db?: OpenDatabase
  clock?: FakeClock
  /**
   * Each task runs before `enqueue` returns, or `db.tx` of this queue, when it may start now, and what it throws is thrown there. What a handler
   * enqueues to another queue than its own, or with a `concurrency` above 1, is done before the outermost call returns, and may be begun only by
   * the time the handler's own call does.
   */
  isInline?: boolean
  /** How many of a queue at a time, 1 by default: so that tests are the same each time. */
  concurrency?: number
  /** Around each attempt, the first outermost. */
  middleware?: readonly TaskMiddleware[]
}

const limitMs = 10_000
const payloadMaxBytes = 256 * 1024
const leaseMs = 30_000

export async function testQueue(options: TestQueueOptions = {}): Promise<TestQueue> {
  const { queues: rules = {}, clock = fakeClock(), isInline = false, concurrency = 1, middleware = [] } = options
  const handlers = [...(options.handlers ?? [])]
  const tasks = [...new Set([...(options.tasks ?? []), ...handlers.map(({ task }) => task)])]
  const queues = [...new Set(['default', ...tasks.map(({ defaults }) => defaults.queue), ...Object.keys(rules)])]
  const log = fakeLog()
  const { db, close } = options.db ? { db: options.db, close: async () => {} } : await openOwn(clock)
  if (await needsMigrating(db, migrations)) await migrateUp(db, migrations)
  const driver = openSqliteQueue({ db, log, metrics: fakeMetrics(), clock })
  const limits = limitsOf(tasks)
  const worked = Object.fromEntries(
    queues.map(queue => {
      const claimLimits = claimLimitsOf(rules[queue] ?? {}, limits)
      return [queue, { concurrency, middleware, ...(claimLimits && { claimLimits }) }]
    }),
  )
  const waits = createWaits({ driver, db, queues })
  const port = { ...createQueue({ driver, db, tasks, queues, rules, clock, payloadMaxBytes }), wait: waits.wait }
  let kept: EnqueuedTask<unknown>[] = []

  async function drainAll({ andScheduled = false, attemptsMax = attemptsMaxDefault } = {}): Promise<DrainedAttempt[]> {
    const all: DrainedAttempt[] = []
    for (;;) {
      const { attempts, nextDueMs } = await drain({
        ...{ driver, handlers, clock, log, limitMs, attemptsLeft: attemptsMax - all.length },
        queues: worked,
      })
      all.push(...attempts)
      if (!andScheduled || nextDueMs === undefined) return all
      clock.advance(Math.ceil(nextDueMs))
    }
  }

  async function runInline(): Promise<void> {
    if (!isInline) return
    const failed = (await drainAll()).find(({ outcome }) => outcome === 'retry' || outcome === 'dead')
    if (failed) throw failed.error
  }

  /** What is part of a transaction counts, and runs, when that commits. */
  async function keep(steps: readonly Step[], replies: readonly Enqueued[], tx: Database | undefined): Promise<void> {
    const some = steps.flatMap(({ task, payload, options: { ...said } }, i): EnqueuedTask<unknown>[] => {
      const { id, status } = replies[i] as Enqueued
      Reflect.deleteProperty(said, 'tx')
      return status === 'enqueued' || status === 'joined' ? [{ id, task: task.name, payload, options: said }] : []
    })
    if (tx) return tx.afterCommit(async () => void kept.push(...some))
    kept.push(...some)
    await runInline()
  }

  const queue: Queue = {
    ...port,
    async enqueue(task, payload, said = {}) {
      const reply = await port.enqueue(task, payload, said)
      await keep([{ task, payload, options: said }], [reply], said.tx)
      return reply
    },
    async enqueueMany(task, items, said = {}) {
      const replies = await port.enqueueMany(task, items, said)
      const steps = items.map(({ payload, ...each }) => ({ task, payload, options: each }))
      await keep(steps, replies, said.tx)
      return replies
    },
    async enqueueChain(steps, said = {}) {
      const replies = await port.enqueueChain(steps, said)
      await keep(steps, replies, said.tx)
      return replies
    },
    async enqueueBatch(steps, last, said = {}) {
      const reply = await port.enqueueBatch(steps, last, said)
      await keep([...steps, last], [...reply.tasks, reply.last], said.tx)
      return reply
    },
  }

  const enqueued = <P>(task?: Task<P>) => kept.filter(each => task === undefined || each.task === task.name) as EnqueuedTask<P>[]
  return {
    ...{ queue, clock, log, enqueued, drain: drainAll },
    handle: more => void handlers.push(...more),
    admin: createQueueAdmin({ driver, outbox: undefined, queues, seal: db.seal, leaseMs, clock }),
    db: {
      ...db,
      async tx(work, said) {
        const result = await db.tx(work, said)
        await runInline()
        return result
      },
    },
    expectEnqueued(task, payload, said = {}) {
      const found = enqueued(task).map(each => ({ payload: each.payload, options: each.options }))
      expect(found).toContainEqual({
        payload: payload === undefined ? expect.anything() : payload,
        options: expect.objectContaining(said),
      } as never)
    },
    expectNoneEnqueued: task => expect(enqueued(task)).toEqual([]),
    forget() {
      kept = []
    },
    async [Symbol.asyncDispose]() {
      waits.close()
      await driver.close()
      await close()
    },
  }
}

async function openOwn(clock: FakeClock) {
  const folder = temporaryFolder()
  const db = await openAgain({ url: `sqlite:${folder.path}/queue.db` }, {}, { clock })
  // Nobody reads it after this process.
  await db.run('pragma synchronous = off')
  return {
    db,
    async close() {
      await db.close()
      folder[Symbol.dispose]()
    },
  }
}
