import { backoffMs } from '@/core/backoff'
import { systemClock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Queue } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import type { AnySchedule } from '@/core/schedule/schedule'
import type { Service } from '@/core/service'
import { isPassing } from '../queue/driver'
import { createScheduleClock, type ScheduleClock } from './clock'
import { createDueRows } from './due'
import { createEnqueuer } from './enqueue'
import { createFiring } from './fire'
import { createHistory } from './history'
import { createScheduleMeters } from './meters'
import { createOutcomes } from './outcomes'
import { createScheduleRows } from './rows'
import { createDeclarer } from './sync'
import { createTickTasks, type TickTaskOptions } from './tick-tasks'

/** Fires schedules while it runs. Any number of processes may: what is due is fired by whoever comes first, and once. */
export interface Scheduler extends Service {
  /** Looks now: somebody in this process has changed a schedule. */
  wake(): void
}

export interface SchedulerOptions extends Pick<TickTaskOptions, 'driver' | 'admin'> {
  db: Database
  queue: Pick<Queue, 'enqueueMany'>
  /** What may be enqueued here. */
  tasks: readonly AnyTask[]
  /** Those in the code of this process. */
  schedules: readonly AnySchedule[]
  /** The database server's by default. */
  clock?: ScheduleClock
  log: Log
  metrics: Metrics
}

/** What other processes have changed is seen within so long. */
const pollMs = 1000
/** After failures. */
const pausesMs = { min: 100, max: 5000 }
/** What is due is being written by another process. */
const contendedMs = { min: 5, max: 25 }
/**
 * Who has come second wakes so much later the next times: so of many processes one fires, the others hardly ever work in vain, and should it
 * end or be slow they are there as soon as this has passed.
 */
const secondMs = { min: 25, max: 50 }
/** A process that never rests asks for the time, and says what it declares, so often all the same. */
const prepareEveryMs = 2000
const outcomesEveryMs = 5000
const countEveryMs = 10_000

export function createScheduler(options: SchedulerOptions): Scheduler {
  const { db, queue, driver, admin, tasks, schedules, log, metrics } = options
  const clock = options.clock ?? createScheduleClock(db, systemClock)
  const meters = createScheduleMeters(metrics)
  const due = createDueRows(
    db,
    tasks.map(({ name }) => name),
  )
  const tickTasks = createTickTasks({ db, driver, admin, tasks, log })
  const enqueuer = createEnqueuer(queue, tasks, log)
  const firing = createFiring({ db, due, history: createHistory(db), enqueuer, tickTasks, clock, log, meters })
  const declarer = createDeclarer({ db, rows: createScheduleRows(db), schedules, clock, log })
  const outcomes = createOutcomes(db, tickTasks, clock)
  let isStopping = false
  let isRung = false
  let wake = () => {}
  let failures = 0
  let preparedAtMs = Number.NEGATIVE_INFINITY
  /** How much later than others it wakes. */
  let behindMs = 0
  /** When something is due, as it was known when it lay down. */
  let expectedAtMs = Number.POSITIVE_INFINITY
  let dueCount: number | undefined
  let working: Promise<unknown> | undefined
  const ends: (() => Promise<void> | void)[] = []

  const rest = (ms: number) =>
    new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (isRung || isStopping) wake()
    })

  async function work(): Promise<void> {
    while (!isStopping) {
      isRung = false
      try {
        if (performance.now() - preparedAtMs > prepareEveryMs) await prepare()
        const isExpected = clock.nowMs() >= expectedAtMs
        expectedAtMs = Number.POSITIVE_INFINITY
        const { due, settled } = await firing.round()
        if (failures > 0) log.info('schedules are fired again', { failures })
        failures = 0
        if (settled > 0) behindMs = 0
        else if (due > 0 || isExpected) behindMs = between(secondMs)
        if (due === 0) await restUntilNext()
        else if (settled === 0) await rest(between(contendedMs))
      } catch (err) {
        meters.failed()
        if (failures++ === 0) say(err)
        // What was known of the time, and what others know of this process, may be old when the database is back.
        preparedAtMs = Number.NEGATIVE_INFINITY
        // Whoever wakes it knows nothing of the database.
        isRung = false
        await rest(backoffMs(pausesMs, failures))
      }
    }
  }

  /** Before it rests, so that nothing is to be asked once a tick has come. */
  async function prepare(): Promise<void> {
    await clock.sync()
    await declarer.declare()
    preparedAtMs = performance.now()
  }

  async function restUntilNext(): Promise<void> {
    await prepare()
    const nowMs = clock.nowMs()
    const nextAtMs = (await due.nextAtMs(nowMs)) ?? Number.POSITIVE_INFINITY
    expectedAtMs = nextAtMs
    // What is due, and was not found, another process has.
    const leftMs = nextAtMs <= nowMs ? between(contendedMs) : nextAtMs - clock.nowMs() + behindMs
    await rest(Math.min(Math.max(1, leftMs), pollMs))
  }

  function say(err: unknown): void {
    if (isPassing(err)) log.warn('schedules cannot be fired; what is due waits', { err })
    else log.error('schedules cannot be fired, and are tried again', { err })
  }

  async function watch(): Promise<void> {
    try {
      await outcomes.look()
    } catch (err) {
      log.debug('what has become of the tasks of schedules cannot be seen', { err })
    }
  }

  return {
    name: 'schedules',
    wake() {
      isRung = true
      if (failures === 0) wake()
    },
    async start() {
      ends.push(metrics.gauge({ name: 'bingo_schedule_due', help: 'Schedules that are due, up to 10,000.' }, () => dueCount))
      const count = async () => {
        dueCount = await due.count(clock.nowMs()).catch(() => dueCount)
      }
      ends.push(every(countEveryMs, count, 0), every(outcomesEveryMs, watch))
      working = work()
    },
    async stop() {
      isStopping = true
      wake()
      await Promise.all([working, ...ends.splice(0).map(end => end())])
    },
  }
}

const between = ({ min, max }: { min: number; max: number }) => min + Math.random() * (max - min)

/** One after another. @returns what ends it, and resolves when nothing of it is under way */
function every(ms: number, work: () => Promise<void>, firstMs = ms): () => Promise<void> {
  let underWay = Promise.resolve()
  let timer = setTimeout(again, firstMs)
  let isEnded = false
  function again(): void {
    underWay = work().then(() => {
      if (!isEnded) timer = setTimeout(again, ms)
    })
  }
  return () => {
    isEnded = true
    clearTimeout(timer)
    return underWay
  }
}
