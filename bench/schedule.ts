import { loadConfig } from '@/core/config/load'
import { toTimestamp } from '@/core/clock'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { Overlap } from '@/core/schedule/schedule'
import { scheduleDefaults, scheduleHeaders, tickTaskId } from '@/core/schedule/schedule'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { createLogOn } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openPorts } from '@/infra/ports'
import type { OpenQueue } from '@/infra/queue/open'
import { createDueRows } from '@/infra/schedule/due'
import { createEnqueuer, tickKeptMs } from '@/infra/schedule/enqueue'
import { createFiring, type Firing } from '@/infra/schedule/fire'
import { createHistory } from '@/infra/schedule/history'
import { createScheduleMeters } from '@/infra/schedule/meters'
import { createScheduleRows } from '@/infra/schedule/rows'
import { createTickTasks } from '@/infra/schedule/tick-tasks'
import { migrations } from '@/migrations'
import { benchDatabase } from './database'
import { type BenchOptions, columns, compare, markdownTable, progress, type Sample, verdict } from './measure'
import { payloadOf } from './peers/queue/contract'
import { removeFolder, temporaryFolder } from './process'
import { ownRedis } from './redis'

/**
 * What it costs to fire schedules that are due at once, beside the least that anybody could do for it: the same tasks, under the same ids, enqueued
 * in as many transactions. Besides, firing reads and computes what is due, moves the cursors, and writes the history.
 */
const count = 10_000
/** As many as firing takes in one transaction. */
const batch = 250
/** A row more in one statement costs MySQL little, and SQLite a call each, so there is less to be beside there. */
const bars = { sqlite: 0.3, server: 0.1 }
const mostMs = 5000
const minuteMs = 60_000
const task = defineTask('note', Type.Object({ serial: Type.Integer(), text: Type.String() }))
/** `allow` asks nobody whether a task has ended; `skip`, the default, asks of each. */
const overlaps: readonly Overlap[] = ['allow', 'skip']

export async function schedule({ rounds }: BenchOptions): Promise<string> {
  const rows = [...(await onSqlite(rounds)), ...(await onMysql(rounds))]
  return [
    '## Schedules',
    `${count.toLocaleString('en-US')} schedules due at once, payloads of 200 bytes, ${batch} in a transaction, all by one process that does nothing else; medians of ${rounds} interleaved rounds. Bun ${Bun.version}.`,
    markdownTable([...columns, 'all fired after'], rows),
  ].join('\n\n')
}

async function onSqlite(rounds: number): Promise<string[][]> {
  const folder = temporaryFolder()
  try {
    return await measured('SQLite', { BINGO_DATABASE_URL: `sqlite:${folder}/bench.db` }, rounds)
  } finally {
    removeFolder(folder)
  }
}

async function onMysql(rounds: number): Promise<string[][]> {
  const [database, redis] = [await benchDatabase(), await ownRedis()]
  try {
    const env = {
      BINGO_DATABASE_URL: database.url,
      BINGO_REDIS_URL: redis.url,
      BINGO_AUTH_KEY: crypto.getRandomValues(Buffer.alloc(32)).toString('base64'),
    }
    return await measured(`${database.server} and Redis ${redis.version}`, env, rounds)
  } finally {
    await redis.remove()
    await database.remove()
  }
}

async function measured(place: string, env: Record<string, string>, rounds: number): Promise<string[][]> {
  const { config } = loadConfig({ env, flags: {}, readFile: () => '' })
  const log = createLogOn(line => process.stderr.write(line), 'error')
  const metrics = createMetrics({ version: 'bench', roles: [] })
  const opened = await openPorts(config, new Set(['db', 'queue']), { log, metrics, tasks: [task], queues: ['default'] })
  const { db, queue } = opened as { db: OpenDatabase; queue: OpenQueue }
  try {
    await migrateUp(db, migrations)
    await makeSchedules(db)
    // Each minute all are due again.
    const clock = { ms: Math.ceil(Date.now() / minuteMs) * minuteMs, nowMs: () => clock.ms }
    const tickTasks = createTickTasks({ db, driver: queue.driver, admin: queue.admin, tasks: [task], log })
    const parts = { due: createDueRows(db, [task.name]), history: createHistory(db), enqueuer: createEnqueuer(queue.queue, [task], log) }
    const firing = createFiring({ db, ...parts, tickTasks, clock, log, meters: createScheduleMeters(metrics) })
    const fired = async (overlap: Overlap) => {
      await db.run('update "schedule" set "overlap" = ?', [overlap])
      clock.ms += minuteMs
      const sample = await timed(() => fireAll(firing))
      await refuseUnlike(db, count)
      return sample
    }
    const alone = async () => {
      clock.ms += minuteMs
      const sample = await timed(() => enqueueAlone(db, queue, clock.ms))
      await refuseUnlike(db, count)
      // So that what is fired next is due.
      await db.run('update "schedule" set "cursorMs" = ?, "nextAtMs" = ?', [clock.ms, clock.ms + minuteMs])
      return sample
    }
    const contenders = overlaps.map(overlap => ({
      name: `firing, overlap ${overlap}`,
      run: () => fired(overlap),
      ...(overlap === 'allow' && { bar: db.dialect.name === 'sqlite' ? bars.sqlite : bars.server }),
    }))
    // What runs first finds everything cold.
    progress(`${place}: warming up`)
    for (const warm of [alone, () => fired('allow')]) await warm()
    const rows = await compare(`${count} on ${place}`, [{ name: 'enqueueMany alone', run: alone }, ...contenders], rounds)
    return rows.map(row => [...row, tookOf(row)])
  } finally {
    await opened.close()
  }
}

/** From the rate in a row. */
function tookOf([, name, perSecond = '']: readonly string[]): string {
  const ms = (count / Number(perSecond.replaceAll(',', ''))) * 1000
  const said = `${(ms / 1000).toFixed(2)} s`
  return name?.startsWith('firing') ? `${said}, ${verdict(`≤ ${mostMs / 1000} s`, ms <= mostMs)}` : said
}

async function timed(work: () => Promise<void>): Promise<Sample> {
  const [startedMs, cpu] = [performance.now(), process.cpuUsage()]
  await work()
  const { user, system } = process.cpuUsage(cpu)
  return { perSecond: (count / (performance.now() - startedMs)) * 1000, cpuMicros: (user + system) / count }
}

async function makeSchedules(db: OpenDatabase): Promise<void> {
  const rows = createScheduleRows(db)
  const shared = {
    ...scheduleDefaults,
    cron: '* * * * *',
    origin: 'database',
    task: task.name,
    isPaused: false,
    declaredAtMs: null,
  } as const
  const nowMs = Math.ceil(Date.now() / minuteMs) * minuteMs
  for (let i = 0; i < count; i += 1000)
    await db.tx(async tx => {
      for (let j = i; j < i + 1000; j++)
        await rows.insert({ ...shared, name: `bench.${j}`, payload: payloadOf(j), cursorMs: nowMs, nextAtMs: nowMs + minuteMs }, nowMs, tx)
    })
}

async function fireAll(firing: Firing): Promise<void> {
  while ((await firing.round()).due > 0);
}

async function enqueueAlone(db: OpenDatabase, { queue }: OpenQueue, tickMs: number): Promise<void> {
  const tick = toTimestamp(tickMs)
  for (let i = 0; i < count; i += batch) {
    const items = Array.from({ length: batch }, (_, j) => ({
      payload: payloadOf(i + j),
      id: tickTaskId(`00000000-0000-0000-0000-${String(i + j).padStart(12, '0')}`, tickMs),
      headers: { [scheduleHeaders.name]: `bench.${i + j}`, [scheduleHeaders.tick]: tick },
      keepForMs: tickKeptMs,
    }))
    await db.tx(tx => queue.enqueueMany(task, items, { tx }))
  }
}

/** Looks whether as many tasks are there as should be, and removes them: what is measured next begins like this one. */
async function refuseUnlike(db: OpenDatabase, expected: number): Promise<void> {
  const table = db.dialect.name === 'sqlite' ? 'queueTask' : 'outbox'
  const row = await db.first(`select count(*) as "count" from "${table}"`, [], { from: 'primary' })
  if (Number(row?.['count']) !== expected) throw new Error(`${row?.['count']} tasks are there, and not ${expected}`)
  await db.run(`delete from "${table}"`)
}
