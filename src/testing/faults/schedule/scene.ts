import { roles } from '@roles'
import { queuesOf, scheduledTasksOf, tasksOf } from '@/app'
import { loadConfig } from '@/core/config/load'
import type { QueueStats } from '@/core/queue/admin'
import type { ScheduleAdmin } from '@/core/schedule/admin'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import { openPorts } from '@/infra/ports'
import { migrations } from '@/migrations'
import { type BackingName, besideMysql } from '../../backings'
import { type LogLine, type RunningBingo, startBingo, temporaryFolder } from '../../bingo'
import { until } from '../../conformance/cache-fixture'
import { fakeLog, fakeMetrics } from '../../fakes'
import { createTestDatabase, type OwnServer, sharedServer, startOwn } from '../../servers'
import { isFull } from '../scene'
import { keysOf } from './redis-keys'
import { callWitness, type Witness } from './witness'

/** Schedulers of the executable on a database of their own, and what happens to them. */
export interface ScheduleScene extends AsyncDisposable {
  db: OpenDatabase
  schedules: ScheduleAdmin
  witness: Witness
  /** Of one test alone, with its log on; absent on SQLite. */
  redis: OwnServer | undefined
  /** Starts one more; resolves when it is ready. */
  start(): Promise<void>
  /** SIGKILL to so many at once, those that have run for longest, and new ones in their places. */
  kill(count: number): Promise<void>
  /** SIGKILL, and a new start on the same data. */
  killRedis(): Promise<void>
  /** SIGTERM to all. @returns their exit codes */
  stop(): Promise<number[]>
  /** Whether nobody was killed, down or starting then. */
  isHealthy(atMs: number): boolean
  stats(): Promise<QueueStats>
  /** Resolves when nothing of the queue waits or runs, nor is in the outbox. */
  settled(limitMs: number): Promise<void>
  /** Ids of tasks that have ended, as the queue remembers them for a day. */
  remembered(): Promise<string[]>
  /** What all have logged. */
  log(): LogLine[]
}

/** Of the task that the schedules enqueue. */
const queue = 'bulk'
const leaseMs = 3000
/** Before a kill and after a start: what is written just then was begun before, or is of a process that has just come. */
const marginMs = 1000

export async function openScheduleScene(name: BackingName): Promise<ScheduleScene> {
  const place = await openPlace(name)
  const env = {
    ...place.env,
    BINGO_QUEUE_LEASE_MS: String(leaseMs),
    BINGO_QUEUE_TIMEOUT_MS: String(leaseMs / 3),
    BINGO_QUEUE_CONCURRENCY: `${queue}:8`,
    BINGO_SHUTDOWN_DRAIN_MS: '0',
  }
  const { config } = loadConfig({ env, flags: {}, readFile: () => '' })
  const declared = { tasks: tasksOf(roles), queues: queuesOf(roles), scheduledTasks: scheduledTasksOf(roles) }
  const opened = await openPorts(config, new Set(['db', 'queue', 'schedules']), { log: fakeLog(), metrics: fakeMetrics(), ...declared })
  const { db, queue: open } = opened
  if (!db || !open) throw new Error('there is no queue')
  await migrateUp(db, migrations)
  const witness = await callWitness(db, place.url)
  const started: RunningBingo[] = []
  const living: RunningBingo[] = []
  const ill: { fromMs: number; untilMs: number }[] = []

  async function start() {
    const bingo = await startBingo({ roles: 'scheduler', env, cwd: place.folder })
    started.push(bingo)
    living.push(bingo)
  }
  async function whileIll(work: () => Promise<void>) {
    const one = { fromMs: Date.now() - marginMs, untilMs: Number.POSITIVE_INFINITY }
    ill.push(one)
    await work()
    one.untilMs = Date.now() + marginMs
  }
  const outboxCount = async () =>
    name === 'sqlite' ? 0 : Number((await db.first('select count(*) as "n" from "outbox"', [], { from: 'primary' }))?.['n'])

  return {
    ...{ db, witness, start },
    schedules: opened.ports.schedules,
    redis: place.redis,
    kill: count =>
      whileIll(async () => {
        const killed = living.splice(0, count)
        await Promise.all(killed.map(bingo => bingo.stop('SIGKILL')))
        await Promise.all(killed.map(start))
      }),
    killRedis: () =>
      whileIll(async () => {
        await place.redis?.kill()
        await place.redis?.start()
      }),
    stop: () => Promise.all(living.splice(0).map(bingo => bingo.stop())),
    isHealthy: atMs => !ill.some(({ fromMs, untilMs }) => atMs >= fromMs && atMs < untilMs),
    stats: () => open.admin.stats(queue),
    async settled(limitMs) {
      // What a relay had taken that was killed others take half a minute later. At full size they wait for it.
      if (!isFull && name !== 'sqlite') await db.run('update "outbox" set "takenUntil" = "claimedAt"')
      await until(async () => {
        const { waiting, scheduled, active } = await open.admin.stats(queue)
        return waiting + scheduled + active + (await outboxCount()) === 0
      }, limitMs)
    },
    remembered: () => place.remembered(db),
    log: () => started.flatMap(({ log }) => log),
    async [Symbol.asyncDispose]() {
      await Promise.all(living.splice(0).map(bingo => bingo.stop('SIGKILL')))
      await opened.close()
      await place.dispose()
    },
  }
}

interface Place {
  env: Record<string, string>
  url: string
  redis: OwnServer | undefined
  folder: string
  remembered(db: OpenDatabase): Promise<string[]>
  dispose(): Promise<void>
}

async function openPlace(name: BackingName): Promise<Place> {
  const folder = temporaryFolder()
  if (name === 'sqlite') {
    const url = `sqlite:${folder.path}/bingo.db`
    return {
      ...{ env: { BINGO_DATABASE_URL: url }, url, folder: folder.path, redis: undefined },
      remembered: async db => (await db.all('select "id" from "queueTombstone" where "queue" = ?', [queue])).map(({ id }) => String(id)),
      dispose: async () => folder[Symbol.dispose](),
    }
  }
  const server = await sharedServer(name)
  if (!server) throw new Error(`${name} cannot be had`)
  const database = await createTestDatabase(server)
  // What Redis has said yes to is not lost when it is killed.
  const redis = await startOwn('redis', ['--appendonly', 'yes', '--appendfsync', 'always'])
  const env = { BINGO_DATABASE_URL: database.url, ...besideMysql(redis) }
  return {
    ...{ env, url: database.url, folder: folder.path, redis },
    remembered: () => keysOf(redis, `${env.BINGO_REDIS_PREFIX}:{${queue}}:d:`),
    async dispose() {
      await database.drop()
      await redis.stop()
      folder[Symbol.dispose]()
    },
  }
}
