import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import { backoffMs } from '@/core/backoff'
import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import { clusterClient, clusterId, primariesOf } from './redis-cluster'
import { sayWhoListens } from './tracing-channels'

sayWhoListens()

/** A Redis server, or a cluster of them. Each user has connections of its own, since one that waits or listens holds up the others. */
export interface RedisServer {
  /** A new connection, made in the background and made again whenever it is lost. @param name as the server lists it */
  connect(name: string): RedisConnection
  /** Closes what is still open of all connections. */
  close(): Promise<void>
}

/**
 * One connection. Its calls are carried out in their order, and each once at most. In a cluster it stands for one connection to each
 * server: a call goes where its first key is, in order for keys of one slot, and may be sent again when slots move.
 */
export interface RedisConnection {
  /**
   * The `run_id` of the server that answers; undefined while none does. It is another one after the server was restarted, or
   * another server took its place: then nothing that was there before may be trusted. Of a cluster, one for all its primaries.
   */
  readonly runId: string | undefined
  /** Calls `hook` when a server answers, and with undefined when it was lost. */
  onChange(hook: (runId: string | undefined) => void): void
  /** @throws RedisTimeout, or Error when Redis cannot be reached or refuses; either way it may have been done */
  call(limitMs: number, command: string, ...args: (string | number)[]): Promise<unknown>
  /** The same of each server that has keys of its own: of one, unless it is a cluster. Throws like `call`. */
  callEach(limitMs: number, command: string, ...args: (string | number)[]): Promise<unknown[]>
  /**
   * Runs a Lua script, sent once to each server. Throws like `call`.
   * @param late takes an answer that came after the limit
   */
  run(
    limitMs: number,
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    late?: (reply: unknown) => void,
  ): Promise<unknown>
  /** Takes the messages of a channel until the connection is lost. Throws like `call`. */
  subscribe(limitMs: number, channel: string, take: (message: string) => void): Promise<void>
  /** Gives the connection up and makes another. */
  reconnect(): void
  close(): Promise<void>
  /** Closes it whatever is under way, as a call that blocks. Resolves when the server knows, or after half a second. */
  drop(): Promise<void>
}

export interface RedisScript {
  readonly lua: string
  readonly sha: string
}

export const redisScript = (lua: string): RedisScript => ({ lua, sha: createHash('sha1').update(lua).digest('hex') })

/** No answer in time. */
export class RedisTimeout extends Error {
  override readonly name = 'RedisTimeout'
}

const connectTimeoutMs = 2000
/** A connection on which a call waits and nothing comes is given up after so long, since its other end may be gone. */
const silenceMaxMs = 5000
/** Between attempts to connect. */
const reconnectMs = { min: 50, max: 500 }
const infoLimitMs = 2000
const closeLimitMs = 500

export interface RedisServerOptions {
  log: Log
  /** Whether the URL names one node of a cluster, which tells of the others. */
  isCluster?: boolean
  /** Who knows where the server is that has this name now, as `host:port`; instead of host and port of the URL. */
  sentinels?: { addresses: readonly string[]; name: string } | undefined
}

/** Names the server; connects when asked to. @param url `redis://` or `rediss://` */
export function openRedis(url: string, options: RedisServerOptions): RedisServer {
  const connections = new Set<RedisConnection>()
  return {
    connect(name) {
      const connection = connect(url, name, options, () => connections.delete(connection))
      connections.add(connection)
      return connection
    },
    async close() {
      await Promise.all([...connections].map(connection => connection.close()))
    },
  }
}

const retryStrategy = (attempt: number) => backoffMs(reconnectMs, attempt)

const optionsOf = (name: string) => ({
  connectionName: `bingo-${name}`,
  connectTimeout: connectTimeoutMs,
  disconnectTimeout: closeLimitMs,
  socketTimeout: silenceMaxMs,
  // A demoted primary takes no writes; its address leads to the new one.
  reconnectOnError: (refused: Error) => refused.message.startsWith('READONLY'),
  // What was sent and not answered is not sent again: the next server may be another.
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
})

/** @param address `host:port` */
function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
}

function connect(
  url: string,
  name: string,
  { log, isCluster = false, sentinels }: RedisServerOptions,
  closed: () => void,
): RedisConnection {
  const cluster = isCluster ? clusterClient(url, optionsOf(name), retryStrategy) : undefined
  // What cannot be sent now fails now.
  const client =
    cluster ??
    new Redis(url, {
      ...optionsOf(name),
      ...(sentinels && { sentinels: sentinels.addresses.map(hostAndPort), name: sentinels.name, sentinelRetryStrategy: retryStrategy }),
      retryStrategy,
      enableOfflineQueue: false,
    })
  const hooks: ((runId: string | undefined) => void)[] = []
  const takers = new Map<string, (message: string) => void>()
  let runId: string | undefined
  let why: string | undefined
  let isSaid = false

  function become(next: string | undefined) {
    if (next === runId) return
    runId = next
    for (const hook of hooks) hook(next)
  }

  // Only the words: the error carries its command, which may be the one with the password.
  client.on('error', (failed: Error & { code?: string }) => {
    why = failed.code ?? failed.message
    if (isSaid) return
    isSaid = true
    log.warn('Redis cannot be reached', { connection: name, why })
  })
  /** @throws Error when it does not say */
  const identify = async () =>
    cluster ? clusterId(cluster, infoLimitMs) : /^run_id:(\w+)/m.exec(String(await call(infoLimitMs, 'INFO', 'server')))?.[1]

  async function ready() {
    try {
      const id = await identify()
      if (isSaid) log.info('Redis is back', { connection: name })
      isSaid = false
      become(id)
    } catch {
      client.disconnect(true)
    }
  }
  client.on('close', () => become(undefined))
  client.on('ready', ready)
  // Slots are elsewhere now, or a server was started anew.
  for (const event of ['+node', '-node']) cluster?.on(event, () => cluster.status === 'ready' && void ready())
  client.on('message', (channel: string, message: string) => takers.get(channel)?.(message))

  /** The driver may leave the promise of a lost connection as it is for ever, so each call has its own deadline. */
  function within<T>(limitMs: number, work: Promise<T>, late?: (reply: T) => void): Promise<T> {
    let isOver = false
    if (late) work.then(reply => isOver && late(reply)).catch(() => {})
    return withDeadline(work, limitMs, () => {
      isOver = true
      return new RedisTimeout(`Redis did not answer within ${limitMs} ms`)
    })
  }
  const call = (limitMs: number, command: string, ...args: (string | number)[]) => within(limitMs, client.call(command, ...args))

  async function run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const server = runId
    try {
      return await client.evalsha(script.sha, keys.length, ...keys, ...args)
    } catch (thrown) {
      const isUnknown = thrown instanceof Error && thrown.message.startsWith('NOSCRIPT')
      if (!isUnknown || runId !== server) throw thrown
      return client.eval(script.lua, keys.length, ...keys, ...args)
    }
  }

  return {
    get runId() {
      return runId
    },
    onChange(hook) {
      hooks.push(hook)
      if (runId !== undefined) hook(runId)
    },
    call,
    callEach: async (limitMs, command, ...args) =>
      cluster
        ? within(limitMs, Promise.all(primariesOf(cluster).map(node => node.call(command, ...args))))
        : [await call(limitMs, command, ...args)],
    run: (limitMs, script, keys, args, late) => within(limitMs, run(script, keys, args), late),
    async subscribe(limitMs, channel, take) {
      takers.set(channel, take)
      await within(limitMs, client.subscribe(channel))
    },
    reconnect: () => client.disconnect(true),
    async close() {
      closed()
      if (client.status === 'ready') await within(closeLimitMs, client.quit()).catch(() => {})
      client.disconnect()
    },
    async drop() {
      closed()
      const isOpen = client.status === 'ready'
      const ended = new Promise<void>(resolve => client.once('end', resolve))
      client.disconnect()
      if (isOpen) await within(closeLimitMs, ended).catch(() => {})
    },
  }
}
