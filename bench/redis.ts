import { Redis } from 'ioredis'
import { freePort, removeFolder, start, stop, temporaryFolder, until } from './process'

/** A Redis for a benchmark. */
export interface BenchRedis {
  url: string
  remove(): Promise<void>
}

/** One that nobody else uses, so that what it says of itself is about what is measured. */
export interface OwnRedis extends BenchRedis {
  version: string
  /** In bytes, of `INFO memory`. */
  usedMemory(): Promise<number>
}

const startTimeoutMs = 10_000

/** The one that tests name, or one of its own. */
export async function benchRedis(): Promise<BenchRedis> {
  const given = process.env['BINGO_TEST_REDIS_URL']
  return given ? { url: given, remove: async () => {} } : ownRedis()
}

/** Its log is written each second, as a queue asks for. */
export async function ownRedis(): Promise<OwnRedis> {
  const program = Bun.which('redis-server')
  if (!program)
    throw new Error('redis-server is not there; install it (Debian: apt install redis-server), or name a server in BINGO_TEST_REDIS_URL')
  const folder = temporaryFolder()
  const port = await freePort()
  const options = ['--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', '--loglevel', 'warning']
  const child = start([program, '--port', String(port), ...options], { core: 'load' })
  const url = `redis://127.0.0.1:${port}`
  const client = new Redis(url, { retryStrategy: () => 50 })
  client.on('error', () => {})
  await until('the Redis', async () => (await client.ping()) === 'PONG', startTimeoutMs, 50)
  const said = async (section: string, word: string) => new RegExp(`^${word}:(\\S+)`, 'm').exec(await client.info(section))?.[1] ?? ''
  return {
    url,
    version: await said('server', 'redis_version'),
    usedMemory: async () => Number(await said('memory', 'used_memory')),
    async remove() {
      client.disconnect()
      await stop(child)
      removeFolder(folder)
    },
  }
}
