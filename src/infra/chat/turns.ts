import { chatErrors, type PlatformName } from '@/core/chat'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import { orAborted, until } from '@/core/wait'
import { createBreaker } from '../cache/breaker'
import { createLeases, type Leases } from '../limit/leases'
import { type Ledger, minute, type Span } from '../limit/ledger'
import { memoryLedger } from '../limit/memory'
import { createRecent } from '../limit/recent'
import type { RedisServer } from '../redis'
import type { Gates } from './gates'
import { createLine } from './line'

/**
 * Whose turn it is to be called: within the limits of the platform, which all processes share where there is Redis, and never while a
 * gate is closed. Calls of one chat wait for each other; answers go before announcements.
 */
export interface Turns {
  /**
   * Makes a call when its turn has come.
   * @throws PlatformBusy when that would take too long, without having called; NotWanted when it is not any more
   */
  take<T>(turn: Turn, call: () => Promise<T>): Promise<T>
}

export interface Turn {
  chatId: string
  limits: ChatLimits
  /** Whether somebody waits for an answer. */
  isUrgent: boolean
  /** On the clock of `performance.now()`. */
  untilMs: number
  signal: AbortSignal
  isStillWanted?: (() => Promise<boolean>) | undefined
}

export interface ChatLimits {
  perSecond?: number
  perMinute?: number
}

export interface TurnTools {
  config: Pick<Config, 'redis'>
  redis: RedisServer | undefined
  log: Log
  gates: Gates
  /** Of all chats together. */
  perSecond: number
}

/** Short buckets and leases, since what is not used of one is lost to the others: 96 of 100 are used by whoever always wants more. */
const second: Span = { windowMs: 1000, bucketMs: 20, leaseMs: 20 }
const chatsMax = 20_000
const redisTimeoutMs = 100
const failuresMax = 2
const pauseMs = 2000
const stepMs = 50

interface Chat {
  /** Resolves when nobody calls it. */
  idle: Promise<void>
  calledAtMs: number
}

export function createTurns(platform: PlatformName, { config, redis, log, gates, perSecond }: TurnTools): Turns {
  const now = () => performance.now()
  const chats = createRecent<Chat>(chatsMax)
  const leasesOf = leasesFrom(platform, { config, redis, log })
  const [ofSecond, ofMinute] = [leasesOf(second), leasesOf(minute)]
  const even = evenly(perSecond)
  const line = createLine(async () => {
    await gates.refresh()
    const waitMs = gates.closedForMs() || even.waitMs() || (await taken(ofSecond, 'all', perSecond))
    if (waitMs === 0) even.take()
    return waitMs
  })

  async function taken(leases: Leases, key: string, limit: number): Promise<number> {
    if (await leases.take(key, limit)) return 0
    return Math.min(stepMs, Math.max(1, (leases.standing(key)?.freedAtMs ?? 0) - now()))
  }

  /** Only whoever calls this chat next is here. */
  async function ownTurn({ chatId, limits, signal }: Turn, chat: Chat): Promise<void> {
    const { perSecond: each, perMinute } = limits
    const evenMs = each === undefined ? 0 : chat.calledAtMs + second.windowMs / each - now()
    if (evenMs > 0) await until(now() + evenMs, signal)
    while (perMinute !== undefined) {
      const waitMs = await taken(ofMinute, chatId, perMinute)
      if (waitMs === 0) return
      await until(now() + waitMs, signal)
    }
  }

  /** When others have called the chat meanwhile, or a gate was closed, it is to come again. @returns whether it is its turn */
  async function isNow({ chatId, limits, signal }: Turn): Promise<boolean> {
    const waitMs = limits.perSecond === undefined ? 0 : await taken(ofSecond, chatId, limits.perSecond)
    if (waitMs > 0) await until(now() + waitMs, signal)
    return waitMs === 0 && gates.closedForMs() === 0
  }

  async function comes(turn: Turn, chat: Chat, previous: Promise<void>): Promise<void> {
    const { chatId, isUrgent, untilMs } = turn
    const refuseLong = () => {
      const closedMs = Math.max(gates.closedForMs(chatId), gates.closedForMs())
      if (now() + closedMs > untilMs) throw chatErrors.PlatformBusy({ retryAfterSeconds: closedMs / 1000 })
      return gates.closedForMs(chatId)
    }
    refuseLong()
    await orAborted(previous, turn.signal)
    for (let closedMs = refuseLong(); closedMs > 0; closedMs = refuseLong()) await until(now() + closedMs, turn.signal)
    await ownTurn(turn, chat)
    do {
      await line.enter(isUrgent, turn.signal)
      if (turn.isStillWanted && !(await turn.isStillWanted())) throw chatErrors.NotWanted()
      turn.signal.throwIfAborted()
    } while (!(await isNow(turn)))
  }

  return {
    async take(turn, call) {
      const chat = chats.get(turn.chatId) ?? { idle: Promise.resolve(), calledAtMs: Number.NEGATIVE_INFINITY }
      chats.set(turn.chatId, chat)
      const done = Promise.withResolvers<void>()
      const previous = chat.idle
      chat.idle = previous.then(() => done.promise)
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(), Math.max(0, turn.untilMs - now()))
      try {
        await comes({ ...turn, signal: AbortSignal.any([turn.signal, late.signal]) }, chat, previous)
        clearTimeout(timer)
        chat.calledAtMs = now()
        return await call()
      } catch (thrown) {
        if (thrown !== late.signal.reason || turn.signal.aborted) throw thrown
        const closedMs = Math.max(gates.closedForMs(turn.chatId), gates.closedForMs(), second.windowMs)
        throw chatErrors.PlatformBusy({ retryAfterSeconds: closedMs / 1000 })
      } finally {
        clearTimeout(timer)
        done.resolve()
      }
    },
  }
}

/** So that what is on its way for a different time each does not arrive all at once: a few together, and not those of a second. */
function evenly(perSecond: number) {
  const [eachMs, togetherMs] = [1000 / perSecond, 50]
  let nextAtMs = 0
  return {
    waitMs: () => Math.max(0, nextAtMs - togetherMs - performance.now()),
    take() {
      nextAtMs = Math.max(nextAtMs, performance.now()) + eachMs
    },
  }
}

/** A ledger in Redis where there is one, and else of this process. */
function leasesFrom(platform: PlatformName, { config, redis, log }: Pick<TurnTools, 'config' | 'redis' | 'log'>) {
  const connection = redis?.connect(`chat-${platform}`)
  const prefix = `${config.redis.prefix}:chat:${platform}`
  const breaker = createBreaker({
    failuresMax,
    pauseMs,
    onOpen: () => log.warn('Redis does not answer: each process keeps the limits of the chat platform by itself', { platform, pauseMs }),
  })
  return (span: Span): Leases => {
    let shared: Ledger | undefined
    // Loaded when used: a process on SQLite starts without the Redis driver.
    if (connection)
      void import('../limit/redis').then(({ redisLedger }) => {
        shared = redisLedger(connection, `${prefix}:${span.windowMs}`, span, redisTimeoutMs)
      })
    return createLeases({
      span,
      nowMs: () => performance.now(),
      own: memoryLedger(span, () => performance.now(), chatsMax),
      keysMax: chatsMax,
      shared: () => (connection?.runId !== undefined && breaker.allows() ? shared : undefined),
      asked: wentWell => (wentWell ? breaker.succeeded() : breaker.failed()),
    })
  }
}
