import { afterAll, beforeAll, beforeEach, expect } from 'bun:test'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import type { AnyTask } from '@/core/queue/task'
import { defineTask } from '@/core/queue/task'
import type { SharedRule } from '@/core/role'
import { type AnySchedule, scheduleDefaults } from '@/core/schedule/schedule'
import { Type } from '@/core/schema'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase, openConfiguredRedis } from '@/infra/ports'
import type { Finish, Held, QueueDriver } from '@/infra/queue/driver'
import { type OpenQueue, openQueue } from '@/infra/queue/open'
import type { ScheduleClock } from '@/infra/schedule/clock'
import { createDueRows, type DueRows } from '@/infra/schedule/due'
import { createEnqueuer } from '@/infra/schedule/enqueue'
import { createFiring, type Firing } from '@/infra/schedule/fire'
import { createHistory, type TickRow } from '@/infra/schedule/history'
import { createScheduleMeters } from '@/infra/schedule/meters'
import { createOutcomes, type Outcomes } from '@/infra/schedule/outcomes'
import { createScheduleRows, type NewSchedule, type ScheduleRow } from '@/infra/schedule/rows'
import { createScheduler, type Scheduler } from '@/infra/schedule/service'
import { createDeclarer, type Declarer, type DeclarerOptions } from '@/infra/schedule/sync'
import { createTickTasks, type TickTasks } from '@/infra/schedule/tick-tasks'
import { nextTicks } from '@/infra/schedule/ticks'
import { migrations } from '@/migrations'
import type { Backing } from '../../backings'
import { type CountingMetrics, countingMetrics, type FakeLog, fakeLog } from '../../fakes'

/** Schedules on a real database with a real queue, fired by a clock that a test moves. */
export interface Scene {
  backing: Backing
  db: OpenDatabase
  clock: MovedClock
  /** One process, which the scene was opened with. */
  one: Process
  /** Another, on the same database and queue. */
  open(options?: ProcessOptions): Promise<Process>
  /** A schedule whose ticks begin now. @returns its id */
  add(over?: Partial<NewSchedule>): Promise<string>
  row(id: string): Promise<ScheduleRow>
  /** What is kept of its ticks, the oldest first, without the times. */
  history(id: string): Promise<TickRow[]>
  /** As `history`, in short: `09:06:00 fired`. */
  told(id: string): Promise<string[]>
  /** The ids of all tasks that were accepted, in the order in which they were, twice if one is there twice. */
  accepted(): Promise<string[]>
  /** The ticks for which this schedule's tasks were accepted, as `told` says them. */
  ticksOf(id: string): Promise<string[]>
}

export interface MovedClock extends ScheduleClock {
  set(at: string): void
  move(ms: number): void
}

/** What one process has that fires schedules. */
export interface Process extends AsyncDisposable {
  db: OpenDatabase
  queue: OpenQueue
  firing: Firing
  outcomes: Outcomes
  log: FakeLog
  metrics: CountingMetrics
  declarer(schedules: readonly AnySchedule[], over?: Partial<DeclarerOptions>): Declarer
  /** The whole loop. @param clock that of the scene when absent */
  scheduler(schedules?: readonly AnySchedule[], clock?: ScheduleClock): Scheduler
  /** Rounds until nothing is due. @returns in how many something was written */
  fire(): Promise<number>
  /** Lines that somebody should read, of schedules. */
  warnings(): string[]
}

export interface ProcessOptions {
  tasks?: readonly AnyTask[]
  rules?: Readonly<Record<string, SharedRule>>
  /** Between what it reads and what it does then. */
  due?: (rows: DueRows) => DueRows
  tickTasks?: (real: TickTasks) => TickTasks
}

export const report = defineTask('report.send', Type.Object({ to: Type.String() }))
export const tidy = defineTask('house.tidy', Type.Object({}), { queue: 'house' })
export const startAt = '2026-01-31T09:05:00.000Z'
const queues = ['default', 'house']
const roundsMax = 2000

export function movedClock(): MovedClock {
  let ms = Date.parse(startAt)
  return {
    nowMs: () => ms,
    sync: async () => {},
    set: at => {
      ms = Date.parse(at)
    },
    move: by => {
      ms += by
    },
  }
}

/** A scene for the tests of a suite; before each of them it has no schedules, and it is `startAt`. */
export function useScene(open: () => Promise<Backing>): Scene {
  const scene = {} as Scene
  beforeAll(async () => Object.assign(scene, await openScene(await open())), 60_000)
  beforeEach(async () => {
    scene.clock.set(startAt)
    for (const table of ['schedule', 'scheduleTick']) await scene.db.run(`delete from "${table}"`)
    await emptyQueues(scene.one)
    scene.one.log.lines.length = 0
  })
  afterAll(async () => {
    await scene.one[Symbol.asyncDispose]()
    await scene.backing.dispose()
  })
  return scene
}

/** Nothing is left to be done of tests before. */
async function emptyQueues({ db, queue: { driver } }: Process): Promise<void> {
  if (db.dialect.name !== 'sqlite') await db.run('delete from "outbox"')
  for (const queue of queues)
    for (let some = await claimed(driver, queue); some.length > 0; some = await claimed(driver, queue)) await end(driver, queue, some)
}

let nonces = 0
/** What may be begun now, as a worker claims it. */
export async function claimed(driver: QueueDriver, queue: string): Promise<Held[]> {
  const nonce = `nonce-${String(++nonces).padStart(10, '0')}`
  const { claimed } = await driver.exchange(queue, { claim: { worker: 'test:1', nonce, count: 1000, leaseMs: 60_000 } })
  return claimed.map(({ id, attempt }) => ({ id, attempt, nonce }))
}

type Ends = Finish extends infer F ? (F extends Finish ? Omit<F, keyof Held> : never) : never
/** As a worker says how attempts have ended. */
export async function end(driver: QueueDriver, queue: string, held: readonly Held[], how: Ends = { outcome: 'done' }): Promise<void> {
  const { finished } = await driver.exchange(queue, { finish: held.map(each => ({ ...each, ...how }) as Finish) })
  expect(finished).toEqual(held.map(() => 'ok'))
}

export async function openScene(backing: Backing): Promise<Scene> {
  const clock = movedClock()
  const one = await openProcess(backing, clock)
  const { db } = one
  await migrateUp(db, migrations)
  const rows = createScheduleRows(db)
  const history = async (id: string) => (await createHistory(db).list(id, 10_000)).toReversed()
  const accepted = async () => {
    const sql =
      db.dialect.name === 'sqlite' ? 'select "id" from "queueTask" order by "seq"' : 'select "taskId" as "id" from "outbox" order by "seq"'
    return (await db.all(sql, [], { from: 'primary' })).map(({ id }) => String(id))
  }
  return {
    ...{ backing, db, clock, one, history, accepted },
    open: options => openProcess(backing, clock, options),
    add: over => rows.insert(newSchedule(clock.nowMs(), over), clock.nowMs()),
    async row(id) {
      const row = await rows.get(id)
      if (!row) throw new Error(`there is no schedule ${id}`)
      return row
    },
    told: async id => (await history(id)).map(({ tickMs, what, count }) => `${timeOf(tickMs)} ${what}${count === 1 ? '' : ` ${count}`}`),
    ticksOf: async id =>
      (await accepted()).filter(each => each.startsWith(`schedule:${id}:`)).map(each => timeOf(Number(each.split(':')[2]))),
  }
}

let count = 0
/** Each minute, and nothing is asked of the one before. */
const newSchedule = (nowMs: number, over: Partial<NewSchedule> = {}): NewSchedule => {
  const row: NewSchedule = {
    ...{ ...scheduleDefaults, name: `schedule-${String(++count).padStart(6, '0')}`, origin: 'database', cron: '* * * * *' },
    ...{ task: report.name, payload: { to: 'Ada' }, overlap: 'allow', isPaused: false, declaredAtMs: null },
    ...{ cursorMs: nowMs, nextAtMs: null },
    ...over,
  }
  return { ...row, nextAtMs: over.nextAtMs ?? nextTicks(row, row.cursorMs, 1)[0] ?? null }
}

const timeOf = (ms: number) => new Date(ms).toISOString().slice(11, 19)

export async function openProcess(backing: Backing, clock: ScheduleClock, options: ProcessOptions = {}): Promise<Process> {
  const { tasks = [report, tidy], rules } = options
  const { config } = loadConfig({ env: backing.options.env ?? {}, flags: {}, readFile: () => '' })
  const log = fakeLog()
  const metrics = countingMetrics()
  const others = { log: fakeLog(), metrics }
  const db = await openConfiguredDatabase(config, others)
  const redis = await openConfiguredRedis(config, others.log)
  const queue = await openQueue(config, { ...{ db, redis, tasks, queues, rules, ...others }, clock: systemClock })
  const { driver, admin } = queue
  const read = createDueRows(
    db,
    tasks.map(({ name }) => name),
  )
  const real = createTickTasks({ db, driver, admin, tasks, log })
  const tickTasks = options.tickTasks?.(real) ?? real
  const firing = createFiring({
    ...{ db, clock, log, tickTasks, history: createHistory(db), meters: createScheduleMeters(metrics) },
    due: options.due?.(read) ?? read,
    enqueuer: createEnqueuer(queue.queue, tasks, log),
  })
  return {
    ...{ db, queue, firing, log, metrics },
    outcomes: createOutcomes(db, tickTasks, clock),
    declarer: (schedules, over = {}) => createDeclarer({ db, rows: createScheduleRows(db), schedules, clock, log, ...over }),
    scheduler: (schedules = [], other = clock) =>
      createScheduler({ db, queue: queue.queue, driver, admin, tasks, schedules, clock: other, log, metrics }),
    async fire() {
      for (let rounds = 0; rounds < roundsMax; rounds++) {
        const { due, settled } = await firing.round()
        if (due === 0) return rounds
        if (settled === 0) await Bun.sleep(1)
      }
      throw new Error('it is due again and again')
    },
    warnings: () => log.lines.filter(({ level }) => level === 'warn' || level === 'error').map(({ message }) => message),
    async [Symbol.asyncDispose]() {
      await queue.close()
      await db.close()
      await redis?.close()
    },
  }
}
