import { heapStats } from 'bun:jsc'
import { existsSync } from 'node:fs'
import type { Database } from '@/core/database'
import { columnType } from '@/core/column'
import { columnWords } from '@/core/migration'
import type { OpenDatabase } from '@/infra/database/driver'
import { benchDatabase, openBench } from './database'
import { type BenchOptions, figures, interleaved, markdownTable, median, progress, ratios, type Sample, seeded, verdict } from './measure'
import { bingo } from './peers/store/bingo'
import { byHandOnMysql } from './peers/store/by-hand-mysql'
import { byHandOnSqlite } from './peers/store/by-hand-sqlite'
import { type NewPerson, type People, people, type PersonPatch } from './peers/store/contract'
import { drizzleOnMysql } from './peers/store/drizzle-mysql'
import { drizzleOnSqlite } from './peers/store/drizzle-sqlite'
import { kyselyOnMysql, kyselyOnSqlite } from './peers/store/kysely'
import { typeormOnMysql, typeormOnSqlite } from './peers/store/typeorm'
import { pinning, removeFolder, temporaryFolder } from './process'

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
const rowCount = 10_000
const loadBatch = 500
const parallelOnMysql = 64
const poolSize = 16
const sliceMs = 200
const warmUpSlices = 3
const getManySize = 50
const createManySize = 100
const pagesWalked = 10
/** Looked at the clock once in so many operations of SQLite, which take about a microsecond. */
const clockEvery = 16
const bars = { mysql: 0.9, sqlite: 0.6 }

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
    return await measured({ setting, contenders, parallel: parallelOnMysql, bar: bars.mysql, alsoSequentially: ['get'], rounds, db })
  } finally {
    for (const contender of contenders) await contender.close()
    await db.close()
    await database.remove()
  }
}

async function onSqlite(rounds: number): Promise<string[]> {
  const folder = temporaryFolder(existsSync(memoryFolder) ? memoryFolder : undefined)
  const path = `${folder}/bench.db`
  const db = await openBench(`sqlite:${path}`)
  const contenders: People[] = []
  try {
    await addPeople(db)
    contenders.push(await byHandOnSqlite(path), bingo(db))
    for (const peer of [drizzleOnSqlite, kyselyOnSqlite, typeormOnSqlite]) contenders.push(await peer(path))
    const setting = `SQLite in ${folder.startsWith(memoryFolder) ? 'memory' : 'a file'}, one after another`
    return await measured({ setting, contenders, parallel: 1, bar: bars.sqlite, alsoSequentially: [], rounds, db })
  } finally {
    for (const contender of contenders) await contender.close()
    await db.close()
    removeFolder(folder)
  }
}

const memoryFolder = '/dev/shm'

interface Measuring {
  setting: string
  /** By hand, the product, and its peers. */
  contenders: readonly People[]
  parallel: number
  /** The product's least speed, as a part of that by hand. */
  bar: number
  alsoSequentially: readonly string[]
  rounds: number
  db: OpenDatabase
}

async function measured({ setting, contenders, parallel, bar, alsoSequentially, rounds, db }: Measuring): Promise<string[]> {
  const ids = (await db.all('select "id" from "bench_person" order by "id"')).map(({ id }) => id as string)
  for (const contender of contenders) {
    progress(`${setting}: checking what ${contender.name} answers`)
    await mustAgree(contender, contenders[0] as People, ids)
  }
  const speeds: string[][] = []
  const costs: string[][] = []
  for (const operation of operations) {
    const atOnce = [parallel, ...(alsoSequentially.includes(operation.name) ? [1] : [])]
    for (const workers of atOnce) {
      const title = workers === parallel ? operation.name : `${operation.name}, sequential`
      const running = contenders.map(contender => {
        const steps = Array.from({ length: workers }, (_, worker) => operation.of(contender, ids, worker, workers))
        return { name: contender.name, run: () => slice(steps) }
      })
      for (const { run } of running) for (let i = 0; i < warmUpSlices; i++) await run()
      const samples = await interleaved(`${title}, ${setting}`, running, rounds)
      speeds.push(...speedRows(title, contenders, samples, bar))
      progress(markdownTable(speedHead, speeds.slice(-contenders.length)))
      if (workers !== parallel) continue
      costs.push(await costRow(operation, contenders, samples, ids))
    }
  }
  return [`### ${setting}`, markdownTable(speedHead, speeds), costNote, markdownTable(costHead, costs)]
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
const costNote = `What an operation costs beyond the same by hand. Bytes are what the collector's heap took for one, run one after another with no collection in between; memory outside of it, such as of sockets, is not seen.`

async function costRow(operation: Operation, contenders: readonly People[], samples: readonly Sample[][], ids: readonly string[]) {
  const micros = samples.slice(0, 2).map(own => median(own.map(({ cpuMicros }) => cpuMicros)))
  const bytes: number[] = []
  for (const contender of contenders.slice(0, 2)) bytes.push(await allocated(operation.of(contender, ids, 0, 1)))
  const row = ([byHand = 0, ours = 0]: number[], digits: number) =>
    [byHand, ours, ours - byHand].map(value => value.toLocaleString('en-US', { maximumFractionDigits: digits }))
  return [operation.name, ...row(micros, 2), ...row(bytes, 0)]
}

interface Operation {
  name: string
  /** Steps of one worker of several; each does one operation and throws when the answer is not what it must be. */
  of(contender: People, ids: readonly string[], worker: number, workers: number): () => Promise<void>
}

const operations: readonly Operation[] = [
  {
    name: 'get',
    of({ get }, ids, worker) {
      const random = seeded(worker)
      return async () => {
        if (!(await get(ids[random(ids.length)] as string))) throw new Error('a person was not found')
      }
    },
  },
  {
    name: `getMany(${getManySize})`,
    of({ getMany }, ids, worker) {
      const random = seeded(worker)
      return async () => {
        const found = await getMany(manyOf(ids, random(ids.length)))
        if (found.length !== getManySize) throw new Error(`${found.length} of ${getManySize} people were found`)
      }
    },
  },
  {
    name: 'list(20)',
    of({ list }) {
      let token = ''
      let pages = 0
      return async () => {
        const { items, nextPageToken } = await list(pages % pagesWalked === 0 ? undefined : token)
        if (items.length !== 20 || !nextPageToken) throw new Error(`a page had ${items.length} people`)
        token = nextPageToken
        pages++
      }
    },
  },
  {
    name: 'update',
    of({ update }, ids, worker, workers) {
      const random = seeded(worker)
      return async () => {
        // Each worker has its own rows: what is compared is not how contention is met.
        const id = ids[worker + workers * random(Math.floor(ids.length / workers))] as string
        if ((await update(id, patchOf(random(1000)))).id !== id) throw new Error('another person was updated')
      }
    },
  },
  {
    name: 'create',
    of({ create }, _, worker) {
      const random = seeded(worker)
      return async () => {
        if (!(await create(newPerson(random(rowCount)))).id) throw new Error('no person was made')
      }
    },
  },
  {
    name: `createMany(${createManySize})`,
    of({ createMany }, _, worker) {
      const random = seeded(worker)
      return async () => {
        const first = random(rowCount)
        const made = await createMany(Array.from({ length: createManySize }, (__, i) => newPerson(first + i)))
        if (made.length !== createManySize) throw new Error(`${made.length} people were made`)
      }
    },
  },
]

/** Distinct ids from all over the table. */
function manyOf(ids: readonly string[], first: number): string[] {
  const step = Math.floor(ids.length / getManySize)
  return Array.from({ length: getManySize }, (_, i) => ids[(first + i * step) % ids.length] as string)
}

const patchOf = (i: number): PersonPatch => ({ city: i % 2 === 0 ? 'London' : 'Paris', score: i })

function newPerson(i: number): NewPerson {
  const person = { name: `Person ${i}`, email: `person${i}@example.com`, city: 'London', score: i, active: i % 2 === 0 }
  return i % 3 === 0 ? person : { ...person, note: 'Met at the analytical engine.' }
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

const allocationTrials = 7
/** Well below the 8 MB after which the collector runs by itself, which would hide what was there. */
const allocationBudget = 2_000_000

/** Bytes that one step takes from the collector's heap. */
async function allocated(step: () => Promise<void>): Promise<number> {
  const bytesOf = async (count: number) => {
    Bun.gc(true)
    const before = heapStats()
    for (let i = 0; i < count; i++) await step()
    const after = heapStats()
    return (after.heapCapacity + after.extraMemorySize - before.heapCapacity - before.extraMemorySize) / count
  }
  const count = Math.max(5, Math.min(5000, Math.floor(allocationBudget / Math.max(await bytesOf(20), 100))))
  const trials: number[] = []
  for (let i = 0; i < allocationTrials; i++) trials.push(await bytesOf(count))
  return median(trials)
}

/** Throws when `contender` does not read what `reference` reads, or does not keep what it says it wrote. */
async function mustAgree(contender: People, reference: People, ids: readonly string[]): Promise<void> {
  const same = (what: string, answers: unknown, should: unknown) => {
    if (!Bun.deepEquals(comparable(answers), comparable(should), true))
      throw new Error(
        `${contender.name}: ${what} gave ${Bun.inspect(comparable(answers))} where it should be ${Bun.inspect(comparable(should))}`,
      )
  }
  const id = ids[1] as string
  same('get', await contender.get(id), await reference.get(id))
  same('get of none', await contender.get(Bun.randomUUIDv7()), undefined)
  const wanted = [Bun.randomUUIDv7(), ...manyOf(ids, 4711)]
  same('getMany', await contender.getMany(wanted), await reference.getMany(wanted))
  let page = await contender.list()
  let should = await reference.list()
  for (let i = 0; i < pagesWalked; i++) {
    same('list', page.items, should.items)
    page = await contender.list(page.nextPageToken)
    should = await reference.list(should.nextPageToken)
  }
  const one = await contender.create(newPerson(1))
  same('create', one, await reference.get(one.id))
  const many = await contender.createMany([1, 2, 3].map(newPerson))
  same('createMany', many, await reference.getMany(many.map(person => person.id)))
  same(
    'createMany',
    many.map(person => person.name),
    ['Person 1', 'Person 2', 'Person 3'],
  )
  const changed = await contender.update(one.id, { city: 'Turin', score: 7 })
  same('update', changed, await reference.get(one.id))
  const { updatedAt } = changed
  same('update', changed, { ...one, city: 'Turin', score: 7, version: 2, updatedAt })
  await Promise.all([1, 2, 3].map(score => contender.update(one.id, { score })))
  same('updates at the same time', (await reference.get(one.id))?.version, 5)
}

/** Absent by undefined and by null is the same here, and so is every order of keys; but objects are plain. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null) return value
  if (Object.getPrototypeOf(value) !== Object.prototype && Object.getPrototypeOf(value) !== null)
    throw new Error('a row is no plain object')
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== null && part !== undefined)
      .toSorted(),
  )
}

/** Makes the table and fills it. */
async function addPeople(db: Database): Promise<void> {
  const words = columnWords[db.dialect.name]
  const columns = people.columns.map(column => `"${column.name}" ${columnType(column, words)}${column.isOptional ? '' : ' not null'}`)
  await db.run(`create table "${people.name}" (${columns.join(', ')}, primary key ("id")) ${words.tableOptions}`)
  for (const index of people.indexes) await db.run(words.index(people.name, index.columns))
  const { createMany } = bingo(db as OpenDatabase)
  for (let first = 0; first < rowCount; first += loadBatch) {
    await createMany(Array.from({ length: loadBatch }, (_, i) => newPerson(first + i)))
  }
}
