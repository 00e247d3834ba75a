import mysql from 'mysql2/promise'
import { rowCodec } from '@/core/column'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { type AccountQuery, administeredBiz } from '@/modules/user/admin.biz'
import { users } from '@/modules/user/schema'
import { userStore } from '@/modules/user/store'
import { benchDatabase, openBench } from './database'
import { type BenchOptions, markdownTable, median, progress, seeded, verdict } from './measure'
import { removeFolder, temporaryFolder } from './process'

/** Whether listing and searching users stays as it is, from ten thousand of them to a million: all that administrators can ask for. */
const counts = { few: 10_000, many: 1_000_000 }
const insertSize = 1000
const insertsPerTx = 20
const asksPerRound = 300
const ratioBar = 2
const loadTimeoutMs = 300_000
/** One of so many is suspended. */
const suspendedEvery = 50

export async function userLists({ rounds }: BenchOptions): Promise<string> {
  const rows: string[][] = []
  const folder = temporaryFolder()
  try {
    rows.push(...(await compared(`sqlite:${folder}/few.db`, `sqlite:${folder}/many.db`, 'SQLite', rounds)))
  } finally {
    removeFolder(folder)
  }
  const database = await benchDatabase()
  try {
    const few = new URL(database.url)
    few.pathname = `${few.pathname}_few`
    const root = await mysql.createConnection({ uri: database.url })
    await root.query(`create database ${few.pathname.slice(1)}`)
    // A million users fit into the memory of the server that somebody has who has as many.
    await root.query('set global innodb_buffer_pool_size = 1073741824')
    rows.push(...(await compared(few.href, database.url, database.server, rounds)))
    await root.query(`drop database ${few.pathname.slice(1)}`)
    await root.end()
  } finally {
    await database.remove()
  }
  const head = ['database', 'asked', 'p50 of few', 'p50 of many', 'p99 of few', 'p99 of many', 'p99 × few', 'bar']
  return `## Users, as administrators list and search them\n\nOf ${number(counts.few)} users and of ${number(counts.many)}, pages of 20; ${asksPerRound} of each a round, in turn, for others each time; medians of ${rounds} rounds. Bun ${Bun.version}.\n\n${markdownTable(head, rows)}`
}

const number = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 })

const givenNames = ['ada', 'grace', 'alan', 'edsger', 'barbara', 'donald', 'tony', 'leslie', 'john', 'frances', 'ken', 'radia', 'niklaus']
/** Scattered over the indexes as they are made. @param i below 2^20 */
const usernameOf = (i: number) => `${givenNames[i % givenNames.length]}.${((i * 387_413 + 7) % 1_048_576).toString(36).padStart(4, '0')}`
const idOf = (i: number, startMs: number) =>
  `${(startMs + i)
    .toString(16)
    .padStart(12, '0')
    .replace(/^(.{8})/, '$1-')}-7000-8000-${i.toString(16).padStart(12, '0')}`

interface Loaded {
  list(query: AccountQuery): Promise<{ items: { username: string }[]; nextPageToken: string }>
  count: number
  startMs: number
  /** Of the last page of all users. */
  lastToken: string
  close(): Promise<void>
}

async function load(url: string, count: number, name: string): Promise<Loaded> {
  const startedMs = performance.now()
  const db = await openBench(url)
  await migrateUp(db, migrations)
  const { encodeRow } = rowCodec(users.columns, db.dialect)
  const names = users.columns.map(({ name }) => name)
  const one = `(${names.map(() => '?').join(', ')})`
  const insert = `insert into "user" (${names.map(column => `"${column}"`).join(', ')}) values ${Array(insertSize).fill(one).join(', ')}`
  const startMs = Date.now() - counts.many
  const row = (i: number) => {
    const at = new Date(startMs + i).toISOString()
    const username = usernameOf(i)
    return encodeRow({
      ...{ id: idOf(i, startMs), username, email: `${username}@example.com`, passwordHash: '$argon2id$'.padEnd(97, 'x') },
      ...{ status: i % suspendedEvery === 0 ? 'suspended' : 'active', createdAt: at, updatedAt: at, version: 1 },
    })
  }
  for (let first = 0; first < count; first += insertSize * insertsPerTx) {
    const insertSome = async (tx: Pick<OpenDatabase, 'run'>) => {
      const end = Math.min(count, first + insertSize * insertsPerTx)
      for (let i = first; i < end; i += insertSize) await tx.run(insert, Array.from({ length: insertSize }, (_, j) => row(i + j)).flat())
    }
    await db.tx(insertSome, { timeoutMs: loadTimeoutMs })
  }
  await db.run(db.dialect.name === 'sqlite' ? 'analyze' : 'analyze table "user"')
  const unused = () => Promise.reject(new Error('nothing is changed here'))
  const { listAccounts: list } = administeredBiz({
    ...{ db, users: userStore, mail: { count: unused } },
    passwords: { hash: unused, verify: unused, isOutdated: () => false },
    queue: { enqueue: unused, enqueueMany: unused, enqueueChain: unused, enqueueBatch: unused, wait: unused },
  })
  let lastToken = ''
  for (let left = count; left > 100; left -= 100)
    lastToken = (await list({ pageSize: 100, ...(lastToken && { pageToken: lastToken }) })).nextPageToken
  progress(`${name}: ${number(count)} users in ${number(performance.now() - startedMs)} ms`)
  return { list, count, startMs, lastToken, close: () => db.close() }
}

const active = (i: number) => (i % suspendedEvery === 0 ? i + 1 : i)

type Below = (below: number) => number
/** Each for another user each time, as far as something is searched for. */
const asked: Record<string, (of: Loaded, below: Below) => AccountQuery> = {
  'the newest': () => ({}),
  'the oldest': ({ lastToken }) => ({ pageToken: lastToken }),
  'the newest suspended': () => ({ status: 'suspended' }),
  'the beginning of many names': (_, below) => ({ search: givenNames[below(givenNames.length)] ?? '' }),
  'the same, suspended': (_, below) => ({ search: givenNames[below(givenNames.length)] ?? '', status: 'suspended' }),
  'a name': ({ count }, below) => ({ search: usernameOf(below(count)) }),
  'a name, active': ({ count }, below) => ({ search: usernameOf(active(below(count))), status: 'active' }),
  'an address': ({ count }, below) => ({ search: `${usernameOf(below(count))}@example.com` }),
  'an address, active': ({ count }, below) => ({ search: `${usernameOf(active(below(count)))}@`, status: 'active' }),
  'an id': ({ count, startMs }, below) => ({ search: idOf(below(count), startMs) }),
  nobody: (_, below) => ({ search: `zoe.${below(1_000_000)}` }),
}

async function compared(fewUrl: string, manyUrl: string, name: string, rounds: number): Promise<string[][]> {
  const [few, many] = [await load(fewUrl, counts.few, name), await load(manyUrl, counts.many, name)]
  try {
    const rows: string[][] = []
    for (const [what, make] of Object.entries(asked)) {
      const found = { few: [] as Quantiles[], many: [] as Quantiles[] }
      const below = seeded(7)
      // One round more than is counted: the first finds cold pages.
      for (let round = 0; round <= rounds; round++) {
        progress(`${name}: ${what}, round ${round} of ${rounds}`)
        const times = { few: [] as number[], many: [] as number[] }
        for (let i = 0; i < asksPerRound; i++) {
          times.few.push(await timed(few, make(few, below), what))
          times.many.push(await timed(many, make(many, below), what))
        }
        if (round === 0) continue
        found.few.push(quantiles(times.few))
        found.many.push(quantiles(times.many))
      }
      const of = (all: readonly Quantiles[], key: keyof Quantiles) => `${median(all.map(each => each[key])).toFixed(3)} ms`
      const ratio = median(found.many.map(({ p99 }, i) => p99 / (found.few[i]?.p99 ?? Number.NaN)))
      const shown = [of(found.few, 'p50'), of(found.many, 'p50'), of(found.few, 'p99'), of(found.many, 'p99')]
      rows.push([name, what, ...shown, ratio.toFixed(2), verdict(`≤ ${ratioBar}`, ratio <= ratioBar)])
    }
    return rows
  } finally {
    await Promise.all([few.close(), many.close()])
  }
}

async function timed({ list }: Loaded, query: AccountQuery, what: string): Promise<number> {
  const startedMs = performance.now()
  const { items } = await list(query)
  const tookMs = performance.now() - startedMs
  if ((items.length === 0) !== (what === 'nobody')) throw new Error(`${what} found ${items.length} of ${JSON.stringify(query)}`)
  return tookMs
}

interface Quantiles {
  p50: number
  p99: number
}
function quantiles(values: readonly number[]): Quantiles {
  const sorted = values.toSorted((a, b) => a - b)
  return { p50: sorted[Math.floor(sorted.length * 0.5)] ?? Number.NaN, p99: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN }
}
