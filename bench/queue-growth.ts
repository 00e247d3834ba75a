import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { createLogOn } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import type { Held, NewTask, QueueDriver } from '@/infra/queue/driver'
import { openRedisQueue } from '@/infra/queue/redis/open'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { openRedis } from '@/infra/redis'
import { migrations } from '@/migrations'
import { openBench } from './database'
import { type BenchOptions, markdownTable, median, progress, verdict } from './measure'
import { payloadOf } from './peers/queue/contract'
import { removeFolder, temporaryFolder } from './process'
import { ownRedis } from './redis'

/** Whether one more task costs the same, however many wait and however many are being worked on. */
const backlogs = [0, 10_000, 100_000, 1_000_000]
const inFlight = [10_000, 100_000]
const batch = 50
const callsPerRound = 200
const fillSize = 1000
const leaseMs = 600_000
const p99BarMs = 5
/** Of the cost at a size to the cost at the least: machines scatter by as much. */
const growthBar = 1.5

export async function queueGrowth({ rounds }: BenchOptions): Promise<string> {
  const tables = [await onRedis(rounds), await onSqlite(rounds)]
  const text = `Calls of ${batch} tasks with payloads of 200 bytes, one call after another: ${callsPerRound} a round, median of ${rounds} rounds; p99 of all. A claim says that the ${batch} before are done, and takes the next.`
  return ['## Queue as it grows', `${text} Bun ${Bun.version}.`, ...tables].join('\n\n')
}

const log = createLogOn(line => process.stderr.write(line), 'error')
const metrics = createMetrics({ version: 'bench', roles: [] })

async function onRedis(rounds: number): Promise<string> {
  const redis = await ownRedis()
  const server = openRedis(redis.url, { log })
  const driver = await openRedisQueue({ server, prefix: 'bench', timeoutMs: 10_000, log, metrics })
  try {
    return await grown(`Redis ${redis.version}`, driver, rounds)
  } finally {
    await driver.close()
    await server.close()
    await redis.remove()
  }
}

async function onSqlite(rounds: number): Promise<string> {
  const folder = temporaryFolder()
  let db: OpenDatabase | undefined
  try {
    db = await openBench(`sqlite:${folder}/bench.db`)
    await migrateUp(db, migrations)
    const driver = openSqliteQueue({ db, log, metrics })
    const table = await grown('SQLite', driver, rounds)
    await driver.close()
    return table
  } finally {
    await db?.close()
    removeFolder(folder)
  }
}

let serial = 0
const envelope = () => JSON.stringify(['note', Date.now(), payloadOf(serial++)])
const some = (count: number): NewTask[] =>
  Array.from({ length: count }, () => ({
    id: Bun.randomUUIDv7('base64url'),
    isIdKept: false,
    priority: 5,
    delayMs: 0,
    envelope: envelope(),
  }))
const claimOf = (count: number) => ({ worker: 'bench', nonce: crypto.randomUUID().replaceAll('-', '').slice(0, 16), count, leaseMs })

async function fill(driver: QueueDriver, queue: string, count: number): Promise<void> {
  for (let i = 0; i < count; i += fillSize) await driver.enqueue(queue, some(Math.min(fillSize, count - i)))
}

const head = ['store', 'waiting', 'in flight', 'enqueue µs each', 'claim and finish µs each', 'p50', 'p99', '× least', 'bar']

interface Size {
  waiting: number
  active: number
  queue: string
  held: Held[]
  /** Microseconds a task, of each round. */
  enqueue: number[]
  exchange: number[]
  /** Milliseconds of each claim. */
  times: number[]
}

async function grown(name: string, driver: QueueDriver, rounds: number): Promise<string> {
  const sizes: Size[] = []
  for (const [waiting, active] of [...backlogs.map(count => [count, 0]), ...inFlight.map(count => [0, count])] as [number, number][]) {
    progress(`${name}: ${waiting} waiting, ${active} in flight`)
    const queue = `waiting-${waiting}-active-${active}`
    await fill(driver, queue, active)
    for (let i = 0; i < active; i += fillSize) await driver.exchange(queue, { claim: claimOf(fillSize) })
    await fill(driver, queue, waiting)
    sizes.push({ waiting, active, queue, held: [], enqueue: [], exchange: [], times: [] })
  }
  // A round more than is counted: the first finds everything cold.
  for (let round = 0; round <= rounds; round++) {
    progress(`${name}: round ${round} of ${rounds}`)
    for (const size of sizes) await measure(driver, size, round > 0)
  }
  const [least] = sizes as [Size, ...Size[]]
  const rows = sizes.map(({ waiting, active, enqueue, exchange, times }) => {
    const sorted = times.toSorted((a, b) => a - b)
    const at = (part: number) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN
    const growth = median(exchange.map((own, i) => (own + (enqueue[i] ?? 0)) / ((least.exchange[i] ?? 0) + (least.enqueue[i] ?? 0))))
    return [
      ...[name, waiting.toLocaleString('en-US'), active.toLocaleString('en-US'), median(enqueue).toFixed(1), median(exchange).toFixed(1)],
      ...[`${at(0.5).toFixed(2)} ms`, `${at(0.99).toFixed(2)} ms`, growth.toFixed(2)],
      verdict(`p99 ≤ ${p99BarMs} ms, ≤ ${growthBar} ×`, at(0.99) <= p99BarMs && growth <= growthBar),
    ]
  })
  return markdownTable(head, rows)
}

/** Enqueues as many as it finishes, so that the size stays. */
async function measure(driver: QueueDriver, size: Size, isCounted: boolean): Promise<void> {
  let [enqueueMs, exchangeMs] = [0, 0]
  for (let i = 0; i < callsPerRound; i++) {
    const tasks = some(batch)
    const claim = claimOf(batch)
    const startedMs = performance.now()
    await driver.enqueue(size.queue, tasks)
    const enqueuedMs = performance.now()
    const { claimed } = await driver.exchange(size.queue, { finish: size.held.map(one => ({ ...one, outcome: 'done' as const })), claim })
    const endedMs = performance.now()
    size.held = claimed.map(({ id, attempt }) => ({ id, attempt, nonce: claim.nonce }))
    if (claimed.length !== batch) throw new Error(`${claimed.length} of ${batch} tasks were claimed`)
    enqueueMs += enqueuedMs - startedMs
    exchangeMs += endedMs - enqueuedMs
    if (isCounted) size.times.push(endedMs - enqueuedMs)
  }
  if (!isCounted) return
  size.enqueue.push((enqueueMs * 1000) / (callsPerRound * batch))
  size.exchange.push((exchangeMs * 1000) / (callsPerRound * batch))
}
