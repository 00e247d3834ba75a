import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'

/** A Redis server. Each user has connections of its own, since one that waits or listens holds up the others. */
export interface RedisServer {
  /** A new connection, made in the background and made again whenever it is lost. @param name as the server lists it */
  connect(name: string): RedisConnection
  /** Closes what is still open of all connections. */
  close(): Promise<void>
}

/** One connection. Its calls are carried out in their order, and each once at most. */
export interface RedisConnection {
  /**
   * The `run_id` of the server that answers; undefined while none does. It is another one after the server was restarted, or
   * another server took its place: then nothing that was there before may be trusted.
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
/** Doubled with each attempt up to the most, and up to a half less. */
const reconnectMs = { min: 50, max: 500 }
const infoLimitMs = 2000
const closeLimitMs = 500

/** Names the server; connects when asked to. @param url `redis://` or `rediss://` */
export function openRedis(url: string, { log }: { log: Log }): RedisServer {
  const connections = new Set<RedisConnection>()
  return {
    connect(name) {
      const connection = connect(url, name, log, () => connections.delete(connection))
      connections.add(connection)
      return connection
    },
    async close() {
      await Promise.all([...connections].map(connection => connection.close()))
    },
  }
}

function connect(url: string, name: string, log: Log, closed: () => void): RedisConnection {
  const client = new Redis(url, {
    connectionName: `bingo-${name}`,
    connectTimeout: connectTimeoutMs,
    disconnectTimeout: closeLimitMs,
    socketTimeout: silenceMaxMs,
    retryStrategy: attempt => Math.min(reconnectMs.min * 2 ** attempt, reconnectMs.max) * (1 - Math.random() / 2),
    // A demoted primary takes no writes; its address leads to the new one.
    reconnectOnError: refused => refused.message.startsWith('READONLY'),
    // What cannot be sent now fails now. What was sent and not answered is not sent again: the next server may be another.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
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
  client.on('close', () => become(undefined))
  client.on('ready', async () => {
    try {
      const info = String(await call(infoLimitMs, 'INFO', 'server'))
      if (isSaid) log.info('Redis is back', { connection: name })
      isSaid = false
      become(/^run_id:(\w+)/m.exec(info)?.[1])
    } catch {
      client.disconnect(true)
    }
  })
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
    callEach: async (...said) => [await call(...said)],
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
  }
}
