import { type BenchOptions, figures, markdownTable, median, progress, ratios, type Sample, verdict } from './measure'
import type { Answer } from './peers/queue/contract'
import { pinning, removeFolder, stop, temporaryFolder } from './process'
import { ask, forNode, type Peer, startPeer } from './queue-peers'
import { ownRedis } from './redis'

/**
 * The task queue beside BullMQ on the same Redis, each in a process of its own. What is fair:
 *
 * - One Redis for all, with its log written each second, which is what both ask for. It is emptied before each round.
 * - BullMQ runs on Bun and on Node; ratios are to the one that was faster in the round.
 * - Real workers with a handler that does nothing. Done jobs are removed by both. Nobody's job asks for retries, though the
 *   product's have them all the same.
 * - Payloads are the same 200 bytes; the product checks each against its schema, when it is enqueued and before it is handled.
 */
const enqueueCount = 10_000
const parallel = 64
const bulkCount = 50_000
const bulkSize = 100
const drainCount = 20_000
const concurrency = 100
const memoryCount = 50_000
const pickupCount = 200
const sqliteDrainCount = 50_000
const sqliteConcurrency = 64
const bars = { enqueue: 1.5, bulk: 4, drain: 4, memory: 0.5, pickupMs: 5, sqliteDrainPerSecond: 20_000 }

export async function queue({ rounds }: BenchOptions): Promise<string> {
  const redis = await ownRedis()
  const folder = temporaryFolder()
  const peers: Peer[] = []
  try {
    const env = { BENCH_REDIS_URL: redis.url }
    peers.push(
      await startPeer('BullMQ on Bun', [process.execPath, 'bench/peers/queue/bullmq.ts'], env),
      await startPeer('BullMQ on Node', ['node', await forNode('bullmq')], env),
      await startPeer('bingo', [process.execPath, 'bench/peers/queue/bingo.ts'], env),
    )
    const speed = [
      ...(await measured('single enqueue', bars.enqueue, peers, rounds, enqueueCount, peer =>
        ask(peer, { do: 'enqueue', count: enqueueCount, parallel }),
      )),
      ...(await measured('bulk enqueue', bars.bulk, peers, rounds, bulkCount, peer =>
        ask(peer, { do: 'enqueueBulk', count: bulkCount, size: bulkSize }),
      )),
      ...(await measured('drain', bars.drain, peers, rounds, drainCount, async peer => {
        await ask(peer, { do: 'enqueueBulk', count: drainCount, size: bulkSize })
        const answer = await ask(peer, { do: 'drain', count: drainCount, concurrency })
        return { ...answer, ms: answer.result as number }
      })),
    ]
    const memory = await memoryRows(peers, redis.usedMemory)
    const pickup = await pickupRows(peers)
    const sqlite = await sqliteRow(`${folder}/bench.db`, rounds)
    return report(rounds, speed, memory, pickup, sqlite, redis.version)
  } finally {
    for (const peer of peers) await stop(peer.child)
    await redis.remove()
    removeFolder(folder)
  }
}

const head = ['measurement', 'contender', 'per second', 'CPU µs each', 'speed × BullMQ', 'CPU × BullMQ', 'bar for speed']

/** A round more than is counted, since the first finds everything cold. */
async function measured(
  measurement: string,
  bar: number,
  peers: readonly Peer[],
  rounds: number,
  count: number,
  run: (peer: Peer) => Promise<Answer>,
): Promise<string[][]> {
  const samples = peers.map(() => [] as Sample[])
  for (let round = 0; round <= rounds; round++) {
    progress(`${measurement}: round ${round} of ${rounds}`)
    for (const [i, peer] of peers.entries()) {
      await ask(peer, { do: 'clear' })
      const { ms, cpuMicros } = await run(peer)
      if (round > 0) samples[i]?.push({ perSecond: (count / ms) * 1000, cpuMicros: cpuMicros / count })
    }
  }
  for (const peer of peers) await ask(peer, { do: 'clear' })
  const [onBun = [], onNode = []] = samples
  const best = onBun.map((sample, i) => {
    const other = onNode[i] ?? sample
    return sample.perSecond >= other.perSecond ? sample : other
  })
  return peers.map(({ name }, i) => {
    const own = samples[i] ?? []
    const { speed, cpu } = ratios(own, best)
    const isOurs = i === peers.length - 1
    return [
      measurement,
      name,
      ...figures(own),
      speed.toFixed(2),
      cpu.toFixed(2),
      isOurs ? verdict(`≥ ${bar.toFixed(1)}`, speed >= bar) : '',
    ]
  })
}

async function memoryRows(peers: readonly Peer[], usedMemory: () => Promise<number>): Promise<string[][]> {
  const [onBun, , ours] = peers as [Peer, Peer, Peer]
  const bytes = async (peer: Peer) => {
    progress(`memory: ${peer.name}`)
    await ask(peer, { do: 'clear' })
    const before = await usedMemory()
    await ask(peer, { do: 'enqueueBulk', count: memoryCount, size: bulkSize })
    const each = ((await usedMemory()) - before) / memoryCount
    await ask(peer, { do: 'clear' })
    return each
  }
  const [theirs, own] = [await bytes(onBun), await bytes(ours)]
  const ratio = own / theirs
  return [
    ['BullMQ', `${theirs.toFixed(0)} B`, '1.00', ''],
    ['bingo', `${own.toFixed(0)} B`, ratio.toFixed(2), verdict(`≤ ${bars.memory}`, ratio <= bars.memory)],
  ]
}

async function pickupRows(peers: readonly Peer[]): Promise<string[][]> {
  const rows: string[][] = []
  for (const [i, peer] of peers.entries()) {
    progress(`pickup: ${peer.name}`)
    const { result } = await ask(peer, { do: 'pickup', count: pickupCount })
    const times = (result as number[]).toSorted((a, b) => a - b)
    const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN
    const isOurs = i === peers.length - 1
    const shown = [0.5, 0.99, 1].map(part => `${at(part).toFixed(2)} ms`)
    rows.push([peer.name, ...shown, isOurs ? verdict(`p99 ≤ ${bars.pickupMs} ms`, at(0.99) <= bars.pickupMs) : ''])
  }
  return rows
}

/** `synchronous=FULL`, on the machine's disk: what is acknowledged is on it. */
async function sqliteRow(path: string, rounds: number): Promise<string[]> {
  const peer = await startPeer('bingo on SQLite', [process.execPath, 'bench/peers/queue/bingo.ts'], { BENCH_SQLITE_PATH: path })
  try {
    const perSecond: number[] = []
    for (let round = 0; round <= rounds; round++) {
      progress(`drain on SQLite: round ${round} of ${rounds}`)
      await ask(peer, { do: 'clear' })
      await ask(peer, { do: 'enqueueBulk', count: sqliteDrainCount, size: bulkSize })
      const { result } = await ask(peer, { do: 'drain', count: sqliteDrainCount, concurrency: sqliteConcurrency })
      if (round > 0) perSecond.push((sqliteDrainCount / (result as number)) * 1000)
    }
    const drained = median(perSecond)
    const bar = verdict(`≥ ${bars.sqliteDrainPerSecond.toLocaleString('en-US')}`, drained >= bars.sqliteDrainPerSecond)
    return ['drain on SQLite', Math.round(drained).toLocaleString('en-US'), bar]
  } finally {
    await stop(peer.child)
  }
}

function report(rounds: number, speed: string[][], memory: string[][], pickup: string[][], sqlite: string[], version: string): string {
  const n = (value: number) => value.toLocaleString('en-US')
  return [
    '## Queue',
    `Redis ${version}, its log written each second; payloads of 200 bytes; medians of ${rounds} interleaved rounds. Enqueue: ${n(enqueueCount)} with ${parallel} in flight; bulk: ${n(bulkCount)} in calls of ${bulkSize}; drain: ${n(drainCount)} by a worker with ${concurrency} at a time. Bun ${Bun.version}; ${pinning}.`,
    markdownTable(head, speed),
    `Memory of Redis for each of ${n(memoryCount)} waiting tasks.`,
    markdownTable(['contender', 'bytes each', '× BullMQ', 'bar'], memory),
    `From enqueue to handler, of an idle worker, ${pickupCount} times.`,
    markdownTable(['contender', 'p50', 'p99', 'most', 'bar'], pickup),
    `SQLite with synchronous=FULL: ${n(sqliteDrainCount)} tasks by a worker with ${sqliteConcurrency} at a time.`,
    markdownTable(['measurement', 'per second', 'bar'], [sqlite]),
  ].join('\n\n')
}
