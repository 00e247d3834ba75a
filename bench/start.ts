import { existsSync, statSync } from 'node:fs'
import type { Subprocess } from 'bun'
import { type BenchOptions, markdownTable, median, progress, verdict } from './measure'
import { wireSchemas } from './schemas'
import {
  compiled,
  freePort,
  must,
  productFolder,
  removeFolder,
  residentMegabytes,
  start as spawn,
  stop,
  temporaryFolder,
  until,
} from './process'

/** How soon the executable answers, and what it holds when nobody asks. */
const startBarMs = 100
const memoryBarMegabytes = 90
const startsMin = 10
const memorySamples = 3
const idleMs = 3000
const startTimeoutMs = 20_000

interface Contender {
  name: string
  launch(port: number): Subprocess
  isOurs: boolean
}

export async function start({ rounds }: BenchOptions): Promise<string> {
  const folder = temporaryFolder()
  const executable = `${productFolder}/dist/bingo`
  if (!existsSync(executable)) await must([process.execPath, 'run', 'build'])
  progress(`dist/bingo was built at ${statSync(executable).mtime.toISOString()}`)
  const settings = { BINGO_DATABASE_URL: `sqlite:${folder}/bingo.db`, BINGO_OPS_PORT: '0' }
  await must([executable, 'migrate', 'up'], { cwd: folder, env: settings })
  // Peers open their pools when first asked, so no server need be there.
  const peerSettings = {
    BENCH_DATABASE_URL: 'mysql://nobody@127.0.0.1:1/none',
    BENCH_SCHEMAS: JSON.stringify(wireSchemas),
    NODE_ENV: 'production',
  }
  const bare = await compiled('peers/elysia.ts', 'elysia')
  const node = Bun.which('node')
  const fastify: Contender[] = node
    ? [
        {
          name: 'Fastify on Node',
          launch: port => spawn([node, 'bench/peers/fastify.mjs'], { env: { ...peerSettings, BENCH_PORT: String(port) } }),
          isOurs: false,
        },
      ]
    : []
  const contenders: Contender[] = [
    { name: 'bare Elysia', launch: port => spawn([bare], { env: { ...peerSettings, BENCH_PORT: String(port) } }), isOurs: false },
    {
      name: 'bingo --role=api on SQLite',
      launch: port =>
        spawn([executable, '--role=api'], {
          cwd: folder,
          stderr: 'ignore',
          env: { ...settings, BINGO_HTTP_PORT: String(port), BINGO_RPC_PORT: '0', BINGO_LOG_LEVEL: 'warn' },
        }),
      isOurs: true,
    },
    ...fastify,
  ]
  try {
    return report(contenders, await measured(contenders, Math.max(rounds, startsMin)))
  } finally {
    removeFolder(folder)
  }
}

interface Measured {
  readyMs: number[]
  idleMegabytes: number[]
}

async function measured(contenders: readonly Contender[], starts: number): Promise<Map<Contender, Measured>> {
  const all = new Map<Contender, Measured>(contenders.map(contender => [contender, { readyMs: [], idleMegabytes: [] }]))
  for (let round = 1; round <= starts; round++) {
    progress(`start: round ${round} of ${starts}`)
    for (const [contender, { readyMs, idleMegabytes }] of all) {
      const port = await freePort()
      const startedMs = performance.now()
      const child = contender.launch(port)
      try {
        // No pause between two tries: it would be part of the result.
        await until(contender.name, async () => (await fetch(`http://127.0.0.1:${port}/livez`)).ok, startTimeoutMs, 0)
        readyMs.push(performance.now() - startedMs)
        if (round > starts - memorySamples) {
          await Bun.sleep(idleMs)
          idleMegabytes.push(residentMegabytes(child.pid))
        }
      } finally {
        await stop(child)
      }
    }
  }
  return all
}

function report(contenders: readonly Contender[], all: Map<Contender, Measured>): string {
  const rows = contenders.map(contender => {
    const { readyMs = [], idleMegabytes = [] } = all.get(contender) ?? {}
    const ready = median(readyMs)
    const idle = median(idleMegabytes)
    const bars = [verdict(`≤ ${startBarMs} ms`, ready <= startBarMs), verdict(`≤ ${memoryBarMegabytes} MB`, idle <= memoryBarMegabytes)]
    const [startBar = '', memoryBar = ''] = contender.isOurs ? bars : []
    return [contender.name, `${ready.toFixed(0)} ms`, startBar, `${idle.toFixed(0)} MB`, memoryBar]
  })
  const starts = all.get(contenders[0] as Contender)?.readyMs.length
  const head = ['executable', 'spawn to first 200 of /livez', 'bar', 'resident when idle', 'bar']
  return `## Start\n\nMedians of ${starts} interleaved starts; memory ${idleMs / 1000} s after it is ready, median of ${memorySamples}. Bun ${Bun.version}.\n\n${markdownTable(head, rows)}`
}
