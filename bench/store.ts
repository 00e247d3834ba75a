import { existsSync } from 'node:fs'
import type { OpenDatabase } from '@/infra/database/driver'
import { type BenchDatabase, benchDatabase, openBench } from './database'
import {
  type BenchOptions,
  columns,
  compare,
  figures,
  interleaved,
  markdownTable,
  median,
  progress,
  ratios,
  type Sample,
  verdict,
} from './measure'
import { bingo, cachedPeople, openCache } from './peers/store/bingo'
import { byHandOnMysql } from './peers/store/by-hand-mysql'
import { byHandOnSqlite } from './peers/store/by-hand-sqlite'
import { mustAgree } from './peers/store/agreement'
import { type People, people } from './peers/store/contract'
import { drizzleOnMysql } from './peers/store/drizzle-mysql'
import { drizzleOnSqlite } from './peers/store/drizzle-sqlite'
import { addPeople, get, idsOf, type Operation, operations, rowCount } from './peers/store/operations'
import { kyselyOnMysql, kyselyOnSqlite } from './peers/store/kysely'
import { typeormOnMysql, typeormOnSqlite } from './peers/store/typeorm'
import { benchFolder, must, pinning, removeFolder, temporaryFolder } from './process'

/**
 * The store beside the same work written by hand, and beside Drizzle, Kysely and TypeORM, all in one process. What is fair:
 *
 * - Everybody works on one table with one index for its order, with the same columns, over the same driver (mysql2 with a pool of
 *   16, or bun:sqlite with the same pragmas; Kysely and TypeORM reach the latter through a shim of a few lines).
 * - Everybody gives plain objects with equal values: timestamps as RFC 3339, booleans as booleans, absent as undefined or null.
 *   That is checked before anything is timed, and a difference throws.
 * - Who can prepare statements does: by hand always, Drizzle where the query does not depend on the call. Kysely and TypeORM have
 *   no such thing on MySQL, and on SQLite statements are kept by their text for them.
 * - `create` makes a UUIDv7, the stamps and the version, and returns the row; `createMany` is one insert of many rows.
 * - `update` returns the row as it was written and loses no change made at the same time: a read, then an update of that version,
 *   again when it was not the version any more. Where the database returns what it updated (SQLite), who can say so does it in
 *   one statement: by hand, Drizzle, Kysely.
 * - `list` walks ten pages by keyset tokens and begins again. Only the product's tokens are sealed.
 * - Everybody answers with promises and is called alike. The writes of all go to the one table, so that it grows for all.
 * - SQLite's file is in memory where the system has such a folder: waiting for the disk would make all alike.
 */
const parallelOnMysql = 64
const poolSize = 16
const sliceMs = 200
const warmUpSlices = 3
/** Looked at the clock once in so many operations of SQLite, which take about a microsecond. */
const clockEvery = 16
const bars = { mysql: 0.9, sqlite: 0.6 }
const cachedBar = 10

export async function store({ rounds }: BenchOptions): Promise<string> {
  const tables = [...(await onMysql(rounds)), ...(await onSqlite(rounds))]
  const rows = rowCount.toLocaleString('en-US')
  return `## Store\n\nOne process, ${rows} rows of ${people.columns.length} columns, random ids; ${sliceMs} ms a round, medians of ${rounds} interleaved rounds. Bun ${Bun.version}; ${pinning}.\n\n${tables.join('\n\n')}`
}

async function onMysql(rounds: number): Promise<string[]> {
  const database = await benchDatabase()
  const db = await openBench(database.url, poolSize)
  const contenders: People[] = []
  try {
    await addPeople(db)
    contenders.push(await byHandOnMysql(database.url, poolSize), bingo(db))
    for (const peer of [drizzleOnMysql, kyselyOnMysql, typeormOnMysql]) contenders.push(await peer(database.url, poolSize))
    const setting = `${database.server}, ${parallelOnMysql} at a time, pool of ${poolSize}`
    const tables = await measured({ setting, contenders, parallel: parallelOnMysql, bar: bars.mysql, rounds, db, url: database.url })
    return [...tables, ...(await cached(database, db, rounds))]
  } finally {
    for (const contender of contenders) await contender.close()
    await db.close()
    await database.remove()
  }
}

async function onSqlite(rounds: number): Promise<string[]> {
  const folder = temporaryFolder(existsSync(memoryFolder) ? memoryFolder : undefined)
  const path = `${folder}/bench.db`
  const url = `sqlite:${path}`
  const db = await openBench(url)
  const contenders: People[] = []
  try {
    await addPeople(db)
    contenders.push(await byHandOnSqlite(path), bingo(db))
    for (const peer of [drizzleOnSqlite, kyselyOnSqlite, typeormOnSqlite]) contenders.push(await peer(path))
    const setting = `SQLite in ${folder.startsWith(memoryFolder) ? 'memory' : 'a file'}, one after another`
    return await measured({ setting, contenders, parallel: 1, bar: bars.sqlite, rounds, db, url })
  } finally {
    for (const contender of contenders) await contender.close()
    await db.close()
    removeFolder(folder)
  }
}

const memoryFolder = '/dev/shm'

/** The store with copies in the process beside the store without. */
async function cached(database: BenchDatabase, db: OpenDatabase, rounds: number): Promise<string[]> {
  const setting = `### get with copies in memory, ${database.server}, ${parallelOnMysql} at a time`
  const cache = openCache()
  const withCache = await openBench(database.url, poolSize, cache)
  try {
    const ids = (await idsOf(db)).slice(0, rowCount)
    const stores = [bingo(db), bingo(withCache, cachedPeople)]
    for (const id of ids) await stores[1]?.get(id)
    const contenders = stores.map((each, i) => {
      const run = runOf(get, each, ids, parallelOnMysql)
      return i === 0 ? { name: each.name, run } : { name: 'Store with copies', run, bar: cachedBar }
    })
    for (const { run } of contenders) await warmUp(run)
    return [setting, markdownTable(columns, await compare('get', contenders, rounds))]
  } finally {
    await withCache.close()
    await cache.close()
  }
}

interface Measuring {
  setting: string
  /** By hand, the product, and its peers. */
  contenders: readonly People[]
  parallel: number
  /** The product's least speed, as a part of that by hand. */
  bar: number
  rounds: number
  db: OpenDatabase
  url: string
}

async function measured({ setting, contenders, parallel, bar, rounds, db, url }: Measuring): Promise<string[]> {
  const ids = await idsOf(db)
  for (const contender of contenders) {
    progress(`${setting}: checking what ${contender.name} answers`)
    await mustAgree(contender, contenders[0] as People, ids)
  }
  const speeds: string[][] = []
  const costs: Cost[] = []
  for (const operation of operations) {
    const atOnce = operation === get && parallel > 1 ? [parallel, 1] : [parallel]
    for (const workers of atOnce) {
      const title = workers === parallel ? operation.name : `${operation.name}, sequential`
      const running = contenders.map(contender => ({ name: contender.name, run: runOf(operation, contender, ids, workers) }))
      for (const { run } of running) await warmUp(run)
      const samples = await interleaved(`${title}, ${setting}`, running, rounds)
      speeds.push(...speedRows(title, contenders, samples, bar))
      progress(markdownTable(speedHead, speeds.slice(-contenders.length)))
      if (workers !== parallel) continue
      const [byHand, ours] = samples.map(own => median(own.map(({ cpuMicros }) => cpuMicros)))
      costs.push({ operation: title, cpuMicros: [byHand ?? Number.NaN, ours ?? Number.NaN] })
    }
  }
  return [`### ${setting}`, markdownTable(speedHead, speeds), costNote, await costTable(url, costs)]
}

const speedHead = ['operation', 'contender', 'per second', 'CPU µs each', 'speed × by hand', 'CPU × by hand', 'Store × its speed', 'bar']

/** The second contender is the product: it must reach its part of the first, and be ahead of all others. */
function speedRows(title: string, contenders: readonly People[], samples: readonly Sample[][], bar: number): string[][] {
  const [byHand = [], ours = []] = samples
  return contenders.map(({ name }, i) => {
    const own = samples[i] ?? []
    const { speed, cpu } = ratios(own, byHand)
    const lead = ratios(ours, own).speed
    const verdicts = ['', verdict(`≥ ${bar.toFixed(2)} by hand`, speed >= bar)]
    return [title, name, ...figures(own), speed.toFixed(2), cpu.toFixed(2), lead.toFixed(2), verdicts[i] ?? verdict('> 1', lead > 1)]
  })
}

const costHead = ['operation', 'CPU µs by hand', 'CPU µs Store', 'overhead µs', 'bytes by hand', 'bytes Store', 'overhead bytes']
const costNote =
  "What an operation costs beyond the same by hand. Bytes are what one takes of the collector's heap, and what that knows of outside of it, in a process of its own that runs one after another with no collection in between."

interface Cost {
  operation: string
  cpuMicros: readonly [byHand: number, ours: number]
}

async function costTable(url: string, costs: readonly Cost[]): Promise<string> {
  const bytes: Record<string, number>[] = []
  for (const name of ['by hand', 'Store']) bytes.push(await allocations(url, name))
  const cells = (byHand: number, ours: number, digits: number) =>
    [byHand, ours, ours - byHand].map(value =>
      value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits }),
    )
  const rows = costs.map(({ operation, cpuMicros }) => {
    const [byHand = Number.NaN, ours = Number.NaN] = bytes.map(each => each[operation])
    return [operation, ...cells(...cpuMicros, 2), ...cells(byHand, ours, 0)]
  })
  return markdownTable(costHead, rows)
}

async function allocations(url: string, contender: string): Promise<Record<string, number>> {
  progress(`counting what ${contender} allocates`)
  // The collector stays away for longer than anything that is counted takes: the heap may grow, and its timers never come.
  const env = {
    BUN_JSC_largeHeapSize: String(2 ** 30),
    BUN_JSC_percentCPUPerMBForEdenTimer: '1e-10',
    BUN_JSC_percentCPUPerMBForFullTimer: '1e-10',
    BUN_GC_TIMER_DISABLE: '1',
  }
  return JSON.parse(await must([process.execPath, `${benchFolder}/store-allocation.ts`, url, contender], { env })) as Record<string, number>
}

async function warmUp(run: () => Promise<Sample>): Promise<void> {
  for (let i = 0; i < warmUpSlices; i++) await run()
}

function runOf(operation: Operation, contender: People, ids: readonly string[], workers: number): () => Promise<Sample> {
  const steps = Array.from({ length: workers }, (_, worker) => operation.of(contender, ids, worker, workers))
  return () => slice(steps)
}

/** All workers step for as long as a slice takes. */
async function slice(workers: readonly (() => Promise<void>)[]): Promise<Sample> {
  let done = 0
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  const endMs = startedMs + sliceMs
  const work = async (step: () => Promise<void>) => {
    const stride = workers.length > 1 ? 1 : clockEvery
    while (performance.now() < endMs) {
      for (let i = 0; i < stride; i++) await step()
      done += stride
    }
  }
  await Promise.all(workers.map(work))
  const seconds = (performance.now() - startedMs) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  return { perSecond: done / seconds, cpuMicros: (cpu.user + cpu.system) / done }
}
