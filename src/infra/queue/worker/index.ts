import { hostname } from 'node:os'
import { type Clock, systemClock } from '@/core/clock'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { TaskHandler, TaskMiddleware } from '@/core/queue/task'
import type { PoolRule, QueueSlots } from '@/core/role'
import type { Service } from '@/core/service'
import { poolOf, weightOf } from '@/core/works'
import type { ClaimLimits, QueueDriver } from '../driver'
import { createSamples } from '../latency'
import type { Skills } from './claims'
import { showDepth } from './depth'
import { createHeartbeats, type HeartbeatSource } from './heartbeats'
import { heartbeatsStopMs, type WorkerLimits, workerLimits } from './limits'
import { around } from './middleware'
import { queueMeters, type QueueMeters } from './meters'
import { createPool, type Pool } from './pool'
import { startReaper } from './reaper'
import { ownSlots, sharedSlots, type Slots } from './slots'

export type { HeartbeatSource } from './heartbeats'

export interface WorkerOptions {
  driver: QueueDriver
  /** The queues that this process works, and how. */
  queues: Readonly<Record<string, WorkedQueue>>
  /** Those of which queues have slots. */
  pools?: Readonly<Record<string, PoolRule>>
  /** What is done with the tasks. One of another name becomes a dead letter. */
  handlers: readonly TaskHandler[]
  /** The same in all processes. */
  leaseMs: number
  /** How long what runs may go on after `stop`; then it is told to end. See `graceMsOf`. */
  graceMs: number
  heartbeats: HeartbeatSource
  log: Log
  metrics: Metrics
  clock?: Clock
  random?: () => number
  limits?: Partial<WorkerLimits>
}

export type WorkedQueue = QueueSlots & {
  /** What it may not exceed over all processes. */
  claimLimits?: ClaimLimits
  /** Dead letters that are older are removed; never when absent. */
  keepDeadMs?: number
  /** Around each attempt, the first outermost. */
  middleware?: readonly TaskMiddleware[]
}

/** What remains of the deadline of a shutdown for tasks to end by themselves. */
export const graceMsOf = (deadlineMs: number): number =>
  Math.max(0, deadlineMs - workerLimits.lastChanceMs - workerLimits.farewellMs - heartbeatsStopMs)

/**
 * Does the tasks of queues. It starts with the queue reachable or not; what it claimed it has begun, until `stop`, which claims
 * no more, waits `graceMs` for what runs, tells it then to end and gives the rest back to the queue, uncounted.
 */
export function createWorker(options: WorkerOptions): Service {
  const { driver, queues, handlers, leaseMs, graceMs, heartbeats: source, log, metrics } = options
  const { pools: rules = {}, clock = systemClock, random = Math.random, limits = {} } = options
  const pools = new Map<string, Pool>()
  const gauges: (() => void)[] = []
  let stopReapers: (() => Promise<void>)[] = []
  let stopping: Promise<void> | undefined

  const heartbeats = createHeartbeats(source, {
    ...{ leaseMs, log, metrics, random },
    tell: news => pools.get(news.queue)?.heard(news),
    liveClaims: () => [...pools.values()].flatMap(pool => pool.liveClaims()),
  })
  const isSuspectRunning = () => [...pools.values()].some(pool => pool.hasSuspect)
  const slotsOf = slotsOfQueues(queues, rules)
  const all = Object.entries(queues).map(([queue, { keepDeadMs, claimLimits, middleware = [] }]) => {
    const meters = queueMeters(metrics, queue)
    const samples = createSamples()
    const pool = createPool({
      ...{ driver, queue, claimLimits, leaseMs, heartbeats, meters, samples, log, clock, random, isSuspectRunning },
      slots: slotsOf(queue),
      worker: `${hostname().slice(0, hostMaxChars)}:${process.pid}`,
      skills: skillsOf(handlers, meters, middleware),
      limits: { ...workerLimits, ...limits },
    })
    pools.set(queue, pool)
    return { queue, pool, meters, samples, keepDeadMs }
  })
  const sumOf = (read: (pool: Pool) => number) => () => all.reduce((sum, { pool }) => sum + read(pool), 0)

  async function stop(): Promise<void> {
    const reaping = stopReapers.map(end => end())
    await Promise.all([...reaping, ...all.map(({ pool }) => pool.stop(graceMs))])
    await heartbeats.stop()
    for (const end of gauges) end()
  }

  return {
    name: 'worker',
    async start() {
      gauges.push(
        metrics.gauge(
          { name: 'bingo_task_running', help: 'Attempts that run in this process.' },
          sumOf(pool => pool.running),
        ),
        metrics.gauge(
          { name: 'bingo_task_stuck', help: 'Those of them that go on though they were told to end.' },
          sumOf(pool => pool.stuck),
        ),
      )
      gauges.push(showDepth({ driver, queues: Object.keys(queues), metrics, random }))
      await heartbeats.start()
      if (stopping) return
      for (const { pool } of all) pool.start()
      stopReapers = all.map(({ queue, pool, meters, samples, keepDeadMs }) =>
        startReaper({ driver, queue, leaseMs, keepDeadMs, meters, samples, log, random, found: pool.wake }),
      )
    },
    stop() {
      stopping ??= stop()
      return stopping
    },
  }
}

/** The worker's name has 64 characters at most, with the number of the process. */
const hostMaxChars = 48

function skillsOf(handlers: readonly TaskHandler[], meters: QueueMeters, middleware: readonly TaskMiddleware[]): Skills {
  const skills = new Map(
    handlers.map(handler => {
      const { name } = handler.task
      return [name, { ...handler, work: around(handler, middleware), meters: meters.ofTask(name) }]
    }),
  )
  return { of: task => skills.get(task), unknown: meters.ofTask('unknown') }
}

/** The slots of each queue: its own, or the one set of its pool. */
function slotsOfQueues(queues: WorkerOptions['queues'], rules: Readonly<Record<string, PoolRule>>): (queue: string) => Slots {
  const shared = new Map<string, Slots>()
  for (const [pool, rule] of Object.entries(rules)) {
    const members = Object.entries(queues).filter(([, slots]) => poolOf(slots) === pool)
    shared.set(pool, sharedSlots(rule, Object.fromEntries(members.map(([queue, slots]) => [queue, weightOf(slots)]))))
  }
  return queue => {
    const slots = queues[queue]
    if (slots && 'concurrency' in slots) return ownSlots(slots.concurrency)
    const found = slots && shared.get(slots.pool)
    if (!found) throw new Error(`the queue ${queue} has no slots`)
    return found
  }
}
