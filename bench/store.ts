import { Database as Sqlite } from 'bun:sqlite'
import mysql, { type RowDataPacket } from 'mysql2/promise'
import type { Database } from '@/core/database'
import { columnWords } from '@/core/migration'
import { Type } from '@/core/schema'
import { createStore } from '@/core/store'
import { defineTable } from '@/core/table'
import { benchDatabase, openBench } from './database'
import { type BenchOptions, type Contender, columns, compare, markdownTable, type Sample, seeded } from './measure'
import { pinning, removeFolder, temporaryFolder } from './process'

/** `Store.get` beside the same select written by hand, in one process. */
const rowCount = 10_000
const concurrency = 64
const poolSize = 16
const sequentialGets = 40_000
const concurrentGets = 8000

const people = defineTable('bench_person', {
  name: Type.String({ maxLength: 64 }),
  email: Type.String({ maxLength: 254 }),
  city: Type.String({ maxLength: 64 }),
  note: Type.Optional(Type.String({ maxLength: 255 })),
  score: Type.Integer(),
  active: Type.Boolean(),
})
const selectColumns = people.columns.map(({ name }) => name).join(', ')

export async function store({ rounds }: BenchOptions): Promise<string> {
  const rows = [...(await onMysql(rounds)), ...(await onSqlite(rounds))]
  return `## Store\n\nOne process, ${rowCount.toLocaleString('en-US')} rows of 10 columns, random ids, medians of ${rounds} interleaved rounds. Bun ${Bun.version}; ${pinning}.\n\n${markdownTable(columns, rows)}`
}

async function onMysql(rounds: number): Promise<string[][]> {
  const database = await benchDatabase()
  const db = await openBench(database.url, poolSize)
  const pool = mysql.createPool({
    uri: database.url,
    connectionLimit: poolSize,
    maxPreparedStatements: 500,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    enableKeepAlive: true,
  })
  try {
    const ids = await addPeople(db)
    const kept = createStore(db, people)
    const byHand = async (id: string) => {
      const [found] = await pool.execute<RowDataPacket[]>(`select ${selectColumns} from bench_person where id = ?`, [id])
      return found[0]
    }
    const contenders: Contender[] = [
      { name: 'mysql2 execute by hand', run: () => timed(concurrentGets, concurrency, ids, byHand) },
      { name: 'Store.get', run: () => timed(concurrentGets, concurrency, ids, kept.get), bar: 0.9 },
    ]
    await warmUp(contenders)
    return await compare(`get, ${database.server}, ${concurrency} at a time, pool of ${poolSize}`, contenders, rounds)
  } finally {
    await pool.end()
    await db.close()
    await database.remove()
  }
}

async function onSqlite(rounds: number): Promise<string[][]> {
  const folder = temporaryFolder()
  const path = `${folder}/bench.db`
  const db = await openBench(`sqlite:${path}`)
  const ids = await addPeople(db)
  const raw = new Sqlite(path, { readonly: true, strict: true })
  try {
    const kept = createStore(db, people)
    const select = raw.prepare(`select ${selectColumns} from bench_person where id = ?`)
    const contenders: Contender[] = [
      { name: 'bun:sqlite prepared select', run: () => timed(sequentialGets, 1, ids, async id => select.get(id)) },
      { name: 'Store.get', run: () => timed(sequentialGets, 1, ids, kept.get), bar: 0.6 },
    ]
    await warmUp(contenders)
    return await compare('get, SQLite, one after another', contenders, rounds)
  } finally {
    raw.close()
    await db.close()
    removeFolder(folder)
  }
}

async function warmUp(contenders: readonly Contender[]): Promise<void> {
  for (let i = 0; i < 3; i++) for (const contender of contenders) await contender.run()
}

/** `total` gets of random rows, `parallel` under way at a time. */
async function timed(total: number, parallel: number, ids: readonly string[], get: (id: string) => Promise<unknown>): Promise<Sample> {
  const random = seeded(total)
  const wanted = Array.from({ length: total }, () => ids[random(ids.length)] as string)
  let next = 0
  let missing = 0
  const worker = async () => {
    while (next < total) if (!(await get(wanted[next++] as string))) missing++
  }
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  await Promise.all(Array.from({ length: parallel }, worker))
  const seconds = (performance.now() - startedMs) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  if (missing > 0) throw new Error(`${missing} of ${total} rows were not found`)
  return { perSecond: total / seconds, cpuMicros: (cpu.user + cpu.system) / total }
}

/** Makes the table and fills it. @returns the ids */
async function addPeople(db: Database): Promise<string[]> {
  const { id, text, integer, boolean, timestamp, tableOptions } = columnWords[db.dialect.name]
  await db.run(
    `create table "bench_person" ("id" ${id} not null primary key, "name" ${text(64)} not null, "email" ${text(254)} not null,
      "city" ${text(64)} not null, "note" ${text(255)}, "score" ${integer} not null, "active" ${boolean} not null,
      "createdAt" ${timestamp} not null, "updatedAt" ${timestamp} not null, "version" ${integer} not null) ${tableOptions}`,
  )
  return db.tx(
    async tx => {
      const ids: string[] = []
      for (let i = 0; i < rowCount; i++) {
        const row = { name: `Person ${i}`, email: `person${i}@example.com`, city: 'London', score: i, active: i % 2 === 0 }
        ids.push((await createStore(tx, people).create(i % 3 === 0 ? row : { ...row, note: 'Met at the analytical engine.' })).id)
      }
      return ids
    },
    { timeoutMs: 120_000 },
  )
}
