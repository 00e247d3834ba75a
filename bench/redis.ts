import { freePort, removeFolder, start, stop, temporaryFolder, until } from './process'

/** A Redis of the benchmark's own, unless tests name one. */
export interface BenchRedis {
  url: string
  remove(): Promise<void>
}

const startTimeoutMs = 10_000

export async function benchRedis(): Promise<BenchRedis> {
  const given = process.env['BINGO_TEST_REDIS_URL']
  if (given) return { url: given, remove: async () => {} }
  const program = Bun.which('redis-server')
  if (!program)
    throw new Error('redis-server is not there; install it (Debian: apt install redis-server), or name a server in BINGO_TEST_REDIS_URL')
  const folder = temporaryFolder()
  const port = await freePort()
  const child = start([program, '--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes'], {
    core: 'load',
  })
  await until('the Redis', () => answers(port), startTimeoutMs, 50)
  return {
    url: `redis://127.0.0.1:${port}`,
    async remove() {
      await stop(child)
      removeFolder(folder)
    },
  }
}

async function answers(port: number): Promise<boolean> {
  const redis = new Bun.RedisClient(`redis://127.0.0.1:${port}`, { autoReconnect: false })
  try {
    return (await redis.ping()) === 'PONG'
  } finally {
    redis.close()
  }
}
