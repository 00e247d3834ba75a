import type { FileSink, Subprocess } from 'bun'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { openBench } from './database'
import { type BenchOptions, columns, compare, markdownTable } from './measure'
import { compiled, cpuMicros, freePort, pinning, removeFolder, start, stop, temporaryFolder, unlimited, until } from './process'
import type { Round, RoundResult } from './rpc-rounds'

/** Calls a second over gRPC, from one process to another: the product's client and server beside grpc-js with nothing around it. */
const inFlights = [1, 64]
const warmUpSeconds = 6
const startTimeoutMs = 20_000
const bar = 0.9

export async function rpc({ rounds, roundSeconds }: BenchOptions): Promise<string> {
  const entries = { server: 'rpc-server.ts', load: 'rpc-load.ts', peerServer: 'peers/grpc-server.ts', peerLoad: 'peers/grpc-load.ts' }
  const executables = { ...entries }
  for (const [name, entry] of Object.entries(entries)) executables[name as keyof typeof entries] = await compiled(entry, `rpc-${name}`)
  const folder = temporaryFolder()
  const pairs: Pair[] = []
  try {
    const url = `sqlite:${folder}/bench.db`
    const db = await openBench(url)
    await migrateUp(db, migrations)
    await db.close()
    const peerPort = String(await freePort())
    const own = {
      ...{ BINGO_DATABASE_URL: url, BINGO_LOG_LEVEL: 'warn', BINGO_RPC_TARGET: '', ...unlimited },
      BINGO_AUTH_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64'),
      ...{ BINGO_RPC_PORT: String(await freePort()), BINGO_OPS_PORT: String(await freePort()) },
    }
    own.BINGO_RPC_TARGET = `127.0.0.1:${own.BINGO_RPC_PORT}`
    pairs.push(await startPair('bare grpc-js', executables.peerServer, executables.peerLoad, { PEER_PORT: peerPort }))
    pairs.push({ ...(await startPair('bingo', executables.server, executables.load, own)), bar })
    const rows: string[][] = []
    for (const inFlight of inFlights) {
      for (const pair of pairs) await pair.run({ inFlight, seconds: warmUpSeconds })
      const measured = pairs.map(({ run, ...pair }) => ({ ...pair, run: () => run({ inFlight, seconds: roundSeconds }) }))
      rows.push(...(await compare(`unary, ${inFlight} in flight`, measured, rounds)))
    }
    return `## gRPC\n\nOne process calls another, ${roundSeconds} s a round, medians of ${rounds} interleaved rounds; ${pinning}; CPU is the server's. The product's calls have a token, a deadline and a recognized caller, and are counted and timed at both ends; logs at warn. Bun ${Bun.version}.\n\n${markdownTable(columns, rows)}`
  } finally {
    for (const { children } of pairs) for (const child of children) await stop(child)
    removeFolder(folder)
  }
}

interface Pair {
  name: string
  bar?: number
  children: Subprocess[]
  run(round: Round): Promise<{ perSecond: number; cpuMicros: number }>
}

async function startPair(name: string, serverPath: string, loadPath: string, env: Record<string, string>): Promise<Pair> {
  const server = start([serverPath], { env, core: 'server' })
  const load = start([loadPath], { env, core: 'load', stdin: 'pipe', stdout: 'pipe' })
  const lines = linesOf(load.stdout as ReadableStream<Uint8Array>)
  const call = async (round: Round): Promise<RoundResult> => {
    const stdin = load.stdin as FileSink
    stdin.write(`${JSON.stringify(round)}\n`)
    await stdin.flush()
    const { value, done } = await lines.next()
    if (done) throw new Error(`the load of ${name} has ended`)
    return JSON.parse(value) as RoundResult
  }
  const port = Number(env['PEER_PORT'] ?? env['BINGO_RPC_PORT'])
  await until(`the server of ${name}`, () => isListening(port), startTimeoutMs, 20)
  return {
    name,
    children: [load, server],
    async run(round) {
      const before = cpuMicros(server.pid)
      const { calls, seconds } = await call(round)
      return { perSecond: calls / seconds, cpuMicros: (cpuMicros(server.pid) - before) / calls }
    },
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = await Bun.connect({ hostname: '127.0.0.1', port, socket: { data() {} } })
  socket.end()
  return true
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
