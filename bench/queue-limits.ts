import { type BenchOptions, compare, columns, markdownTable, type Sample } from './measure'
import { pinning, removeFolder, stop, temporaryFolder } from './process'
import { ask, type Peer, startPeer } from './queue-peers'
import { ownRedis } from './redis'

/**
 * What limits by key cost: a drain of tasks that have none, of tasks that have keys which take turns, and of tasks of which so many of a
 * key may run at a time. All by the product, in one process, with a handler that does nothing, as in the benchmark of the queue.
 */
const bulkSize = 100
const costMax = 0.25
const bar = 1 / (1 + costMax)
const stores = {
  Redis: { count: 20_000, concurrency: 100 },
  SQLite: { count: 20_000, concurrency: 64 },
}
/** Many keys that seldom have as many running as they may, and few that nearly always do. */
const cases = [
  { name: '100 keys that take turns', keys: 100, perKey: undefined },
  { name: '100 keys, 10 at a time of each', keys: 100, perKey: 10 },
  { name: '20 keys, 4 at a time of each', keys: 20, perKey: 4 },
]

export async function queueLimits({ rounds }: BenchOptions): Promise<string> {
  const redis = await ownRedis()
  const folder = temporaryFolder()
  const peers: Peer[] = []
  try {
    const command = [process.execPath, 'bench/peers/queue/bingo.ts']
    peers.push(
      await startPeer('Redis', command, { BENCH_REDIS_URL: redis.url }),
      await startPeer('SQLite', command, { BENCH_SQLITE_PATH: `${folder}/bench.db` }),
    )
    const rows: string[][] = []
    for (const peer of peers) rows.push(...(await rowsOf(peer, stores[peer.name as keyof typeof stores], rounds)))
    return [
      '## Limits of the queue',
      `Redis ${redis.version}, its log written each second; SQLite with synchronous=FULL; payloads of 200 bytes; medians of ${rounds} interleaved rounds. Bun ${Bun.version}; ${pinning}.`,
      markdownTable(columns, rows),
    ].join('\n\n')
  } finally {
    for (const peer of peers) await stop(peer.child)
    await redis.remove()
    removeFolder(folder)
  }
}

function rowsOf(peer: Peer, { count, concurrency }: { count: number; concurrency: number }, rounds: number): Promise<string[][]> {
  const drain = async (keys?: number, perKey?: number): Promise<Sample> => {
    await ask(peer, { do: 'enqueueBulk', count, size: bulkSize, ...(keys !== undefined && { keys }) })
    const { result, cpuMicros } = await ask(peer, { do: 'drain', count, concurrency, ...(perKey !== undefined && { perKey }) })
    return { perSecond: (count / (result as number)) * 1000, cpuMicros: cpuMicros / count }
  }
  const limited = cases.map(({ name, keys, perKey }) => ({
    name,
    run: () => drain(keys, perKey),
    bar,
  }))
  return compare(`drain on ${peer.name}`, [{ name: 'no limits', run: () => drain() }, ...limited], rounds)
}
