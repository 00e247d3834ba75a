import { rowCodec } from '@/core/column'
import { pageSizeMax } from '@/core/store'
import { createStore } from '@/core/store'
import type { OpenDatabase } from '@/infra/database/driver'
import { benchDatabase, openBench } from './database'
import { type BenchOptions, markdownTable, median, progress, verdict } from './measure'
import { columnNames, listSize, made, people } from './peers/store/contract'
import { makeTable, newPerson } from './peers/store/operations'
import { benchFolder, must, removeFolder, temporaryFolder } from './process'
import type { Walk } from './store-walk'

/** Whether the store stays as it is when a table grows: the last page of a list, and all rows one after another. */
const rowCount = 1_000_000
const insertSize = 1000
const insertsPerTx = 20
const pagesPerRound = 500
const lastPage = rowCount / listSize
const pageBar = 1.5
const memoryBarMegabytes = 100
const loadTimeoutMs = 120_000

export async function storeGrowth({ rounds }: BenchOptions): Promise<string> {
  const rows: { pages: string[]; walk: string[] }[] = []
  const folder = temporaryFolder()
  try {
    rows.push(await grown(`sqlite:${folder}/bench.db`, 'SQLite', rounds))
  } finally {
    removeFolder(folder)
  }
  const database = await benchDatabase()
  try {
    rows.push(await grown(database.url, database.server, rounds))
  } finally {
    await database.remove()
  }
  const count = rowCount.toLocaleString('en-US')
  const pages = markdownTable(
    pageHead,
    rows.map(row => row.pages),
  )
  const walks = markdownTable(
    walkHead,
    rows.map(row => row.walk),
  )
  return `## Store as it grows\n\n${count} rows. Pages of ${listSize}, newest first, one after another: ${pagesPerRound} of each a round, in turn; medians of ${rounds} rounds. Bun ${Bun.version}.\n\n${pages}\n\nAll rows by \`iterate\`, in a process of its own; its resident memory is looked at every 1,000 rows.\n\n${walks}`
}

const number = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 })

async function grown(url: string, name: string, rounds: number) {
  const db = await openBench(url)
  try {
    const startedMs = performance.now()
    await load(db)
    progress(`${name}: ${number(rowCount)} rows in ${number(performance.now() - startedMs)} ms`)
    const pages = await pageRow(db, name, rounds)
    return { pages, walk: await walkRow(url, name) }
  } finally {
    await db.close()
  }
}

/** Rows as if one had been made each millisecond until now. */
async function load(db: OpenDatabase): Promise<void> {
  await makeTable(db)
  const { encodeRow } = rowCodec(people.columns, db.dialect)
  const one = `(${columnNames.map(() => '?').join(', ')})`
  const names = columnNames.map(column => `"${column}"`).join(', ')
  const insert = `insert into "${people.name}" (${names}) values ${Array(insertSize).fill(one).join(', ')}`
  const startMs = Date.now() - rowCount
  const row = (i: number) => {
    const createdAt = new Date(startMs + i).toISOString()
    return encodeRow({ ...made(newPerson(i)), id: Bun.randomUUIDv7('hex', startMs + i), createdAt, updatedAt: createdAt })
  }
  for (let first = 0; first < rowCount; first += insertSize * insertsPerTx) {
    const insertSome = async (tx: { run: OpenDatabase['run'] }) => {
      for (let i = first; i < first + insertSize * insertsPerTx; i += insertSize) {
        await tx.run(insert, Array.from({ length: insertSize }, (_, j) => row(i + j)).flat())
      }
    }
    await db.tx(insertSome, { timeoutMs: loadTimeoutMs })
  }
}

const pageHead = [
  'database',
  'p50 of page 1',
  `p50 of page ${number(lastPage)}`,
  'p99 of page 1',
  `p99 of page ${number(lastPage)}`,
  'p99 × page 1',
  'bar',
]

async function pageRow(db: OpenDatabase, name: string, rounds: number): Promise<string[]> {
  const kept = createStore(db, people)
  const list = (pageToken: string, pageSize = listSize) =>
    kept.list({ orderBy: 'createdAt desc', pageSize, ...(pageToken && { pageToken }) })
  progress(`${name}: walking to page ${number(lastPage)}`)
  let token = ''
  // In larger steps where there is time to save: a token continues the list, whatever the size of its pages.
  for (let left = rowCount - listSize; left > 0; ) {
    const { items, nextPageToken } = await list(token, left > pageSizeMax ? pageSizeMax : listSize)
    if (!nextPageToken) throw new Error(`the list ended ${left} rows early`)
    left -= items.length
    token = nextPageToken
  }
  const end = await list(token)
  if (end.items.length !== listSize || end.nextPageToken) throw new Error(`page ${lastPage} is not the last one`)

  const timed = async (pageToken: string) => {
    const startedMs = performance.now()
    await list(pageToken)
    return performance.now() - startedMs
  }
  const quantiles = (values: readonly number[]) => {
    const sorted = values.toSorted((a, b) => a - b)
    return { p50: sorted[Math.floor(sorted.length * 0.5)] ?? Number.NaN, p99: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN }
  }
  const firsts: ReturnType<typeof quantiles>[] = []
  const lasts: ReturnType<typeof quantiles>[] = []
  // One round more than is counted: the first finds cold pages.
  for (let round = 0; round <= rounds; round++) {
    progress(`${name}: pages, round ${round} of ${rounds}`)
    const first: number[] = []
    const last: number[] = []
    for (let i = 0; i < pagesPerRound; i++) {
      first.push(await timed(''))
      last.push(await timed(token))
    }
    if (round === 0) continue
    firsts.push(quantiles(first))
    lasts.push(quantiles(last))
  }
  const of = (all: typeof firsts, key: 'p50' | 'p99') => `${median(all.map(each => each[key])).toFixed(3)} ms`
  const ratio = median(lasts.map(({ p99 }, i) => p99 / (firsts[i]?.p99 ?? Number.NaN)))
  const times = [of(firsts, 'p50'), of(lasts, 'p50'), of(firsts, 'p99'), of(lasts, 'p99')]
  return [name, ...times, ratio.toFixed(2), verdict(`≤ ${pageBar}`, ratio <= pageBar)]
}

const walkHead = ['database', 'rows', 'rows per second', 'resident when idle', 'resident at most', 'above idle', 'bar']

async function walkRow(url: string, name: string): Promise<string[]> {
  progress(`${name}: walking all rows`)
  const walk = JSON.parse(await must([process.execPath, `${benchFolder}/store-walk.ts`, url])) as Walk
  if (walk.rows !== rowCount) throw new Error(`${walk.rows} of ${rowCount} rows were iterated over`)
  const above = walk.peakMegabytes - walk.idleMegabytes
  const megabytes = [walk.idleMegabytes, walk.peakMegabytes, above].map(value => `${value.toFixed(0)} MB`)
  return [name, number(walk.rows), number(walk.perSecond), ...megabytes, verdict(`< ${memoryBarMegabytes} MB`, above < memoryBarMegabytes)]
}
