import { Redis } from 'ioredis'
import type { QueueDriver } from '@/infra/queue/driver'
import { openRedisQueue } from '@/infra/queue/redis/open'
import { openRedis } from '@/infra/redis'
import { fakeMetrics } from '../../fakes'
import { filledFolder, type OwnServer, startIn } from '../../servers'
import { type FaultProxy, startProxy } from '../proxy'
import { eventually, type Place } from './scene'

/** A Redis of one test alone, whose append-only file is synced each second, behind a network that fails on command. */
export interface RedisPlace extends Place, AsyncDisposable {
  server: OwnServer
  /** Between it and everybody but `raw`. */
  proxy: FaultProxy
  /** Past the proxy, as another process has it. */
  rival: QueueDriver
  /** Past the proxy, for looks and for damage. */
  raw: Redis
  /** Where its data are. */
  folder: string
  prefix: string
  keyOf(queue: string, suffix: string): string
  /** Of a queue all that is not remembered: its keys without its counters, the ids that are kept, and what expires within minutes: of calls, of checks and of groups. */
  leftovers(queue: string): Promise<string[]>
  /** Ids that are remembered. */
  kept(queue: string): Promise<string[]>
  /** SIGKILL, and a new start on the same data. */
  killAndStart(): Promise<void>
}

export interface RedisPlaceOptions {
  options?: readonly string[]
  env?: Record<string, string>
  timeoutMs?: number
}

const aof = ['--appendonly', 'yes', '--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0']
/** Nothing is ever opened there. */
const someMysql = 'mysql://root@127.0.0.1:1/none'
const prefix = 'faults'
const startLimitMs = 20_000

export async function openRedisPlace({ options = [], env = {}, timeoutMs = 2000 }: RedisPlaceOptions = {}): Promise<RedisPlace> {
  const folder = await filledFolder('redis')
  const server = await startIn('redis', folder, [...aof, ...options], env)
  const proxy = await startProxy(server.port)
  const url = `redis://127.0.0.1:${proxy.port}`
  const redis = openRedis(url, { log: silentLog })
  const driver = await openRedisQueue({ server: redis, prefix, timeoutMs, log: silentLog, metrics: fakeMetrics() })
  const pastProxy = openRedis(server.url, { log: silentLog })
  const rival = await openRedisQueue({ server: pastProxy, prefix, timeoutMs, log: silentLog, metrics: fakeMetrics() })
  const raw = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 })
  raw.on('error', () => {})
  const keyOf = (queue: string, suffix: string) => `${prefix}:{${queue}}:${suffix}`
  const suffixes = async (queue: string) => (await raw.keys(keyOf(queue, '*'))).map(key => key.slice(keyOf(queue, '').length))

  return {
    ...{ driver, rival, server, proxy, raw, folder, prefix, keyOf },
    env: {
      BINGO_DATABASE_URL: someMysql,
      BINGO_REDIS_URL: url,
      BINGO_REDIS_PREFIX: prefix,
      BINGO_QUEUE_TIMEOUT_MS: String(timeoutMs),
      BINGO_MAIL_URL: 'smtp://127.0.0.1:1',
    },
    leftovers: async queue =>
      (await suffixes(queue)).filter(suffix => !['m', 'hist'].includes(suffix) && !/^(d|cl|f|g):/.test(suffix)).toSorted(),
    kept: async queue => (await suffixes(queue)).filter(suffix => suffix.startsWith('d:')).map(suffix => suffix.slice(2)),
    async killAndStart() {
      await server.kill()
      await server.start()
      const answers = async () => {
        await Promise.all([raw.ping(), driver.ping(), rival.ping()])
        return true
      }
      await eventually(
        () => answers().catch(() => false),
        startLimitMs,
        () => 'Redis is not back',
      )
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([driver.close(), rival.close()])
      await Promise.all([redis.close(), pastProxy.close()])
      raw.disconnect()
      await proxy[Symbol.asyncDispose]()
      await server.stop()
    },
  }
}

/** What is said of a server that is killed on purpose says nothing. */
const silentLog = { debug() {}, info() {}, warn() {}, error() {}, enabled: () => false }
