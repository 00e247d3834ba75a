import type { Subprocess } from 'bun'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { benchDatabase, openBench } from './database'
import { type BenchOptions, markdownTable, median, progress, verdict } from './measure'
import { compiled, freePort, pinning, start, stop, unlimited, until } from './process'
import { type BenchRedis, benchRedis } from './redis'

/** What it costs to know who calls: a route for those who have logged in, with a session that is remembered, beside the same for everyone. */
const requestsEach = 2000
const warmUp = 10_000
const startTimeoutMs = 20_000
/** Of the median of a request. */
const barMicros = 60

export async function auth({ rounds }: BenchOptions): Promise<string> {
  const executable = await compiled('api.ts', 'api')
  const database = await benchDatabase()
  const redis = await benchRedis()
  let child: Subprocess | undefined
  try {
    const db = await openBench(database.url)
    await migrateUp(db, migrations)
    await db.close()
    const ports = { http: await freePort(), ops: await freePort() }
    child = start([executable], { env: environment(database.url, redis, ports), core: 'server' })
    const origin = `http://127.0.0.1:${ports.http}`
    await until('the server', async () => (await fetch(`${origin}/readyz`)).ok, startTimeoutMs, 20)
    const token = await logIn(origin)
    const open = { name: 'for everyone', path: '/open', headers: {} }
    const closed = { name: 'for users, session remembered', path: '/closed', headers: { authorization: `Bearer ${token}` } }
    const ask = (way: typeof open | typeof closed, count: number) => latencies(`${origin}/api/v1/echo${way.path}`, way.headers, count)
    for (const way of [open, closed]) await ask(way, warmUp)

    const statements = () => statementsOf(`http://127.0.0.1:${ports.ops}/metrics`)
    const before = await statements()
    const startedMs = performance.now()
    const medians = { open: [] as number[], closed: [] as number[] }
    for (let round = 1; round <= rounds; round++) {
      progress(`auth: round ${round} of ${rounds}`)
      medians.open.push(median(await ask(open, requestsEach)))
      medians.closed.push(median(await ask(closed, requestsEach)))
    }
    const asked = (await statements()) - before
    // Twice a second the process asks what others have revoked, and each time at most with two statements.
    const polls = Math.ceil(((performance.now() - startedMs) / 500 + 1) * 2)
    const cost = median(medians.closed.map((own, i) => own - (medians.open[i] ?? Number.NaN)))
    const rows = [
      [open.name, median(medians.open).toFixed(1), '', ''],
      [closed.name, median(medians.closed).toFixed(1), cost.toFixed(1), verdict(`≤ ${barMicros}`, cost <= barMicros)],
    ]
    const queries = `Statements of the database for ${rounds * requestsEach * 2} requests: ${asked}, of which polls make ${polls} at most; ${verdict('none for a request', asked <= polls)}.`
    const head = ['route', 'median, µs', 'more, µs', 'bar']
    return `## Knowing who calls\n\nOne connection, ${requestsEach} requests a round and route, medians of ${rounds} interleaved rounds; ${pinning}; ${database.server}. Bun ${Bun.version}.\n\n${markdownTable(head, rows)}\n\n${queries}`
  } finally {
    if (child) await stop(child)
    await database.remove()
    await redis.remove()
  }
}

const environment = (url: string, redis: BenchRedis, ports: { http: number; ops: number }) => ({
  BINGO_DATABASE_URL: url,
  BINGO_REDIS_URL: redis.url,
  BINGO_REDIS_PREFIX: `bench-${process.pid}`,
  BINGO_MAIL_URL: 'smtp://127.0.0.1:1',
  BINGO_HTTP_PORT: String(ports.http),
  BINGO_RPC_PORT: '0',
  BINGO_OPS_PORT: String(ports.ops),
  BINGO_LOG_LEVEL: 'warn',
  ...unlimited,
  BINGO_AUTH_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64'),
  // Longer than the benchmark: what is measured is a session that is remembered.
  BINGO_AUTH_ACCESS_TTL_MS: '3600000',
})

/** @returns an access token */
async function logIn(origin: string): Promise<string> {
  const account = { username: 'bench', email: 'bench@example.com', password: 'correct horse battery staple' }
  const send = async (path: string, body: object) => {
    const answer = await fetch(`${origin}/api/v1${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    })
    if (!answer.ok) throw new Error(`${path} was answered ${answer.status}: ${await answer.text()}`)
    return answer.json()
  }
  await send('/users', account)
  const { accessToken } = (await send('/sessions', { login: account.username, password: account.password })) as { accessToken: string }
  return accessToken
}

/** Of requests one after another, in microseconds. */
async function latencies(url: string, headers: Record<string, string>, count: number): Promise<number[]> {
  const micros: number[] = []
  for (let i = 0; i < count; i++) {
    const startedMs = performance.now()
    const answer = await fetch(url, { headers })
    await answer.arrayBuffer()
    micros.push((performance.now() - startedMs) * 1000)
    if (!answer.ok) throw new Error(`${url} was answered ${answer.status}`)
  }
  return micros
}

async function statementsOf(url: string): Promise<number> {
  const text = await (await fetch(url)).text()
  const counts = [...text.matchAll(/^bingo_database_statements_total\{[^}]*\} (\d+)$/gm)].map(([, count]) => Number(count))
  if (counts.length === 0) throw new Error('the metrics do not count statements')
  return counts.reduce((sum, count) => sum + count, 0)
}
