import type { Subprocess } from 'bun'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { userStore } from '@/modules/user/store'
import { type BenchDatabase, benchDatabase, openBench } from './database'
import { type BenchOptions, columns, compare, markdownTable, progress } from './measure'
import { compiled, freePort, must, pinning, removeFolder, start, stop, temporaryFolder, uncounted, unlimited, until } from './process'
import { type BenchRedis, benchRedis } from './redis'
import { benchKey } from './echo'
import { echoBody, wireSchemas } from './schemas'
import { load, requireWrk } from './wrk'

/** Requests a second, and CPU for each, of the product beside servers without its layers. */
const userCount = 1000
const startTimeoutMs = 20_000
/** Compiled code gets fast with calls, not with time: a slow route needs longer until it is measured as it is in service. */
const warmUpRequests = 30_000
const warmUpSeconds = 2
const warmUpRunsMax = 3

interface Server {
  name: string
  origin: string
  child: Subprocess
  /** What the project promises itself, by measurement. */
  bars: Partial<Record<Measurement, number>>
}
type Measurement = 'JSON echo' | 'user by id' | 'create user'

export async function http({ rounds, roundSeconds }: BenchOptions): Promise<string> {
  requireWrk()
  const folder = temporaryFolder()
  const executables = { api: await compiled('api.ts', 'api'), elysia: await compiled('peers/elysia.ts', 'elysia') }
  const database = await benchDatabase()
  const redis = await benchRedis()
  const servers: Server[] = []
  try {
    const scripts = await writeScripts(folder, await addUsers(database.url))
    for (const make of await contenders(executables, database, redis, folder)) servers.push(await make())
    const rows: string[][] = []
    for (const [measurement, { path, script }] of Object.entries(scripts) as [Measurement, (typeof scripts)[Measurement]][]) {
      let round = 0
      const loadOf = (server: Server, seconds: number) =>
        load(server.child.pid, { url: `${server.origin}${path}`, script, scriptArguments: [`r${round++}`], seconds })
      progress(`${measurement}: warming up`)
      for (const server of servers) {
        let requests = 0
        for (let i = 0; i < warmUpRunsMax && requests < warmUpRequests; i++) {
          requests += (await loadOf(server, warmUpSeconds)).perSecond * warmUpSeconds
        }
      }
      const measured = servers.map(server => {
        const bar = server.bars[measurement]
        return { name: server.name, ...(bar !== undefined && { bar }), run: () => loadOf(server, roundSeconds) }
      })
      const compared = await compare(measurement, measured, rounds)
      progress(markdownTable(columns, compared))
      rows.push(...compared)
    }
    return `## HTTP\n\nwrk with 1 thread and 32 connections, ${roundSeconds} s a round, medians of ${rounds} interleaved rounds; ${pinning}; ${database.server}. Bun ${Bun.version}; logs go to a file.\n\n${markdownTable(columns, rows)}`
  } finally {
    for (const server of servers) await stop(server.child)
    await database.remove()
    await redis.remove()
    removeFolder(folder)
  }
}

/** @returns the ids of the users that are asked for */
async function addUsers(url: string): Promise<string[]> {
  const db = await openBench(url)
  try {
    await migrateUp(db, migrations)
    const added = Array.from({ length: userCount }, (_, i) =>
      userStore(db).create({
        username: `user${i}`,
        email: `user${i}@example.com`,
        nickname: `User ${i}`,
        passwordHash: 'none',
        status: 'active',
      }),
    )
    return (await Promise.all(added)).map(({ id }) => id)
  } finally {
    await db.close()
  }
}

async function writeScripts(folder: string, ids: readonly string[]): Promise<Record<Measurement, { path: string; script: string }>> {
  const write = async (name: string, path: string, lua: string) => {
    const script = `${folder}/${name}.lua`
    await Bun.write(script, lua)
    return { path, script }
  }
  const json = `wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\n`
  const oneById = `
    local ids = {${ids.map(id => `'${id}'`).join(',')}}
    function init() math.randomseed(1); wrk.headers['authorization'] = 'Bearer ${benchKey}' end
    function request() return wrk.format('GET', '/api/v1/users/' .. ids[math.random(#ids)]) end`
  const signUp = `${json}
    local round, count
    function init(args) round, count = args[1], 0 end
    function request()
      count = count + 1
      local name = round .. 'x' .. count
      return wrk.format(nil, nil, nil,
        '{"username":"' .. name .. '","email":"' .. name .. '@example.com","password":"correct horse battery staple","nickname":"New"}')
    end`
  return {
    'JSON echo': await write('echo', '/api/v1/echo', `${json}wrk.body = '${JSON.stringify(echoBody)}'`),
    'user by id': await write('get', '/api/v1/users/', oneById),
    'create user': await write('create', '/api/v1/users', signUp),
  }
}

/** The baseline first. */
async function contenders(
  executables: { api: string; elysia: string },
  { url }: BenchDatabase,
  redis: BenchRedis,
  folder: string,
): Promise<(() => Promise<Server>)[]> {
  const peer = (name: string, command: readonly string[]) => async () => {
    const port = await freePort()
    const env = { BENCH_PORT: String(port), BENCH_DATABASE_URL: url, BENCH_SCHEMAS: JSON.stringify(wireSchemas), NODE_ENV: 'production' }
    return listening({ name, origin: `http://127.0.0.1:${port}`, child: start(command, { env, core: 'server' }), bars: {} })
  }
  const ours =
    (level: 'warn' | 'info', bars: Server['bars'], countsRequests = false) =>
    async () => {
      const port = await freePort()
      const env = {
        BINGO_DATABASE_URL: url,
        BINGO_REDIS_URL: redis.url,
        BINGO_REDIS_PREFIX: `bench-${process.pid}`,
        // Nobody works the queue here, so nobody sends.
        BINGO_MAIL_URL: 'smtp://127.0.0.1:1',
        BINGO_HTTP_PORT: String(port),
        BINGO_RPC_PORT: '0',
        BINGO_OPS_PORT: '0',
        BINGO_LOG_LEVEL: level,
        // Off, since the others count nothing either; or on, and never reached: what counting costs.
        ...(countsRequests ? unlimited : uncounted),
        BINGO_AUTH_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64'),
      }
      const name = `bingo, log level ${level}${countsRequests ? ', counting requests' : ''}`
      const stdout = Bun.file(`${folder}/${level}${countsRequests ? '-counting' : ''}.log`)
      const child = start([executables.api], { env, core: 'server', stdout })
      return listening({ name, origin: `http://127.0.0.1:${port}`, child, bars })
    }
  const node = Bun.which('node')
  if (!node) progress('node is not there, so Fastify is left out')
  // Bun says of itself that it is a Node, of another version than the one that runs here.
  const nodeVersion = node && (await must([node, '--version'])).trim().slice(1)
  return [
    peer('bare Elysia, SQL by hand', [executables.elysia]),
    ours('warn', { 'JSON echo': 0.8, 'user by id': 0.85 }),
    ours('warn', {}, true),
    ours('info', { 'JSON echo': 0.65 }),
    ...(node ? [peer(`Fastify on Node ${nodeVersion}`, [node, 'bench/peers/fastify.mjs'])] : []),
  ]
}

async function listening(server: Server): Promise<Server> {
  const body = JSON.stringify(echoBody)
  const ask = async () => {
    const answer = await fetch(`${server.origin}/api/v1/echo`, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
    return answer.ok && (await answer.text()) === body
  }
  await until(server.name, ask, startTimeoutMs, 20)
  return server
}
