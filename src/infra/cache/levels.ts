import type { Cache } from '@/core/cache'
import type { RedisConnection } from '../redis'
import { createMemory, type MemoryOptions, observeMemory } from './memory'
import type { RedisCache } from './redis'

/** How long a copy of a copy in Redis lives: the longest that a lost message could leave an old one. */
const memoryLifeMs = 5000
/** Between two questions whether messages still come. */
const heartbeatMs = 1000
const subscribeLimitMs = 2000

export interface LevelsOptions {
  redis: RedisCache
  /** Asks Redis for `redis`. */
  commands: RedisConnection
  /** Listens to the writes of other processes. */
  subscriber: RedisConnection
  memory: Omit<MemoryOptions, 'lifeMaxMs'>
}

/**
 * Copies in memory over those in Redis. Memory is asked only while the writes of other processes are heard, and begins empty
 * each time that they are heard again; meanwhile Redis alone answers.
 */
export function cacheLevels({ redis, commands, subscriber, memory: options }: LevelsOptions): Cache {
  const { metrics } = options
  const memory = createMemory({ ...options, lifeMaxMs: memoryLifeMs })
  observeMemory(memory, metrics)
  /** The run id of the server whose channel is subscribed to, and whether messages come. */
  let subscribed: string | undefined
  let isHearing = false

  function become(next: { subscribed: string | undefined; isHearing: boolean }) {
    memory.clear()
    subscribed = next.subscribed
    isHearing = next.isHearing
  }

  function take(message: string) {
    const keys = redis.changedKeys(message)
    if (!keys) return memory.clear()
    metrics.changedElsewhere.add(keys.length)
    for (const key of keys) memory.drop(key)
  }

  subscriber.onChange(async runId => {
    become({ subscribed: undefined, isHearing: false })
    if (runId === undefined) return
    try {
      await subscriber.subscribe(subscribeLimitMs, redis.channelOf(runId), take)
      if (subscriber.runId === runId) become({ subscribed: runId, isHearing: true })
    } catch {
      subscriber.reconnect()
    }
  })

  /**
   * Messages and the answer come in one order on one connection: after the answer, what was said before the question has been
   * heard. It also keeps the connection from being silently dead.
   */
  async function listen() {
    const server = subscribed
    if (server === undefined) return
    // Redis was replaced, and this connection still leads to the old server.
    if (commands.runId !== undefined && commands.runId !== server) return subscriber.reconnect()
    const isAnswered = await subscriber.call(heartbeatMs, 'PING').then(
      () => true,
      () => false,
    )
    if (subscribed === server && isHearing !== isAnswered) become({ subscribed: server, isHearing: isAnswered })
  }
  const heartbeat = setInterval(listen, heartbeatMs)
  heartbeat.unref()

  return {
    fetch(key, load, rule) {
      if (!isHearing || subscribed !== commands.runId) {
        metrics.memory.bypass.add()
        return redis.fetch(key, load, rule)
      }
      return memory.fetch(key, () => redis.find(key, load, rule), rule)
    },
    async write(changes) {
      await redis.write(changes)
      // Not put: another process may have written since, and its message come before Redis's answer.
      for (const { key } of changes) memory.drop(key)
    },
    async close() {
      clearInterval(heartbeat)
      await redis.close()
      become({ subscribed: undefined, isHearing: false })
    },
  }
}
