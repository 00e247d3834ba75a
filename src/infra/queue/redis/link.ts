import type { AppError } from '@/core/error'
import type { Log } from '@/core/log'
import { queueErrors } from '@/core/queue/queue'
import { type RedisConnection, type RedisScript, RedisTimeout } from '../../redis'
import { checkServer, infoSections } from './check'
import type { LinkMetrics } from './metrics'

/**
 * Calls that are repeated: when no answer came because the connection was lost, or none in time, the same is said again on the next
 * connection until the deadline. Scripts bear that. What Redis refuses is refused at once.
 */
export interface Link {
  /**
   * @param key of the slot where it runs
   * @param args as they are said the first time, and when they are said again
   * @throws QueueUnavailable, and Error when the call itself is what Redis refuses
   */
  ask(script: RedisScript, key: string, args: (isAgain: boolean) => readonly (string | number)[]): Promise<Answer>
  /** The problem of the server, once it has been asked. @param limitMs how long to wait for the first answer */
  firstCheck(limitMs: number): Promise<{ problem?: string } | undefined>
  close(): Promise<void>
}

export interface Answer {
  reply: unknown
  /** It was said more than once, so an earlier time may have done it. */
  isAgain: boolean
}

interface LinkOptions {
  connection: RedisConnection
  timeoutMs: number
  log: Log
  metrics: LinkMetrics
}

const infoLimitMs = 2000
/** Between two looks at how the server is set; and when it is set wrongly. */
const checkMs = 60_000
const unfitCheckMs = 2000
/** Between two attempts on a connection that has not noticed yet that it is lost. */
const pauseMs = 10
const retryAfterSeconds = 1
const unavailable = (cause: unknown): AppError => queueErrors.QueueUnavailable({ cause, retryAfterSeconds })

/** Redis said no: at this moment it would say the same again. */
const isRefusal = (thrown: unknown): thrown is Error => thrown instanceof Error && thrown.name === 'ReplyError'
/**
 * What a server says that takes nothing, whatever is asked of it: full, a replica, loading, not told who we are, and so on. Anything
 * else it says of this one call, which would be refused tomorrow too.
 */
const takesNothing =
  /^(OOM|MISCONF|READONLY|LOADING|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|NOREPLICAS|MASTERDOWN|BUSY|UNKILLABLE|NOAUTH|WRONGPASS|NOPERM|ERR max number of clients)\b/
/** Without the command that the driver notes in its error: payloads are in it. */
const fault = (refused: Error) => new Error(`Redis refuses a call of the task queue: ${refused.message}`)

export function createLink({ connection, timeoutMs, log, metrics }: LinkOptions): Link {
  let state: 'away' | 'there' | 'unfit' = 'away'
  let problem: string | undefined
  let warning: string | undefined
  let recheck: Timer | undefined
  let awaySinceMs = performance.now()
  let isClosed = false
  let connections = 0
  const waiting = new Set<() => void>()
  const underWay = new Set<(lost: Error) => void>()
  const calls = new Set<Promise<unknown>>()

  function become(next: typeof state) {
    if (next === 'away' && state !== 'away') awaySinceMs = performance.now()
    state = next
    for (const go of waiting) go()
  }

  /** Whether the server may be used: when it is met, and now and then, since it may be set otherwise. */
  async function check() {
    const mine = connections
    const infos = await connection.callEach(infoLimitMs, 'INFO', ...infoSections)
    if (mine !== connections || isClosed) return
    const checks = infos.map(info => checkServer(String(info)))
    const found = checks.find(each => each.problem)?.problem
    const warned = checks.find(each => each.warning)?.warning
    if (found && found !== problem) log.error('the task queue cannot use this Redis', { problem: found })
    if (problem && !found) log.info('the task queue can use this Redis again')
    if (warned && warned !== warning) log.warn(warned)
    problem = found
    warning = warned
    become(found ? 'unfit' : 'there')
    recheck = setTimeout(checkOrReconnect, found ? unfitCheckMs : checkMs)
    recheck.unref()
  }

  async function checkOrReconnect() {
    const mine = connections
    try {
      await check()
    } catch {
      if (mine === connections) connection.reconnect()
    }
  }

  connection.onChange(async runId => {
    connections++
    clearTimeout(recheck)
    // Their promises may never settle by themselves.
    for (const reject of underWay) reject(new Error('the connection to Redis was lost'))
    become('away')
    if (runId !== undefined) await checkOrReconnect()
  })

  /** Until something changes, or so long. */
  function change(limitMs: number): Promise<void> {
    return new Promise(resolve => {
      const go = () => {
        clearTimeout(timer)
        waiting.delete(go)
        resolve()
      }
      const timer = setTimeout(go, limitMs)
      waiting.add(go)
    })
  }

  /** Who comes when it has long been away does not wait. */
  async function untilThere(endsAtMs: number, cause: unknown): Promise<void> {
    while (state !== 'there') {
      if (isClosed) throw unavailable(new Error('the queue is closed'))
      if (state === 'unfit') throw unavailable(new Error(problem))
      const leftMs = Math.min(endsAtMs, awaySinceMs + timeoutMs) - performance.now()
      if (leftMs <= 0) throw unavailable(cause ?? new Error('Redis cannot be reached'))
      await change(leftMs)
    }
  }

  function once(script: RedisScript, key: string, args: readonly (string | number)[], limitMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      underWay.add(reject)
      connection.run(limitMs, script, [key], args).then(
        reply => {
          underWay.delete(reject)
          resolve(reply)
        },
        thrown => {
          underWay.delete(reject)
          reject(thrown)
        },
      )
    })
  }

  async function ask(script: RedisScript, key: string, args: (isAgain: boolean) => readonly (string | number)[]): Promise<Answer> {
    if (isClosed) throw unavailable(new Error('the queue is closed'))
    const endsAtMs = performance.now() + timeoutMs
    let cause: unknown
    for (let attempt = 0; ; attempt++) {
      if (state !== 'there') await untilThere(endsAtMs, cause)
      const said = connections
      const leftMs = endsAtMs - performance.now()
      if (leftMs <= 0) throw unavailable(cause)
      try {
        // A half of the time, so that there is time to say it again.
        const reply = await once(script, key, args(attempt > 0), attempt === 0 ? Math.max(timeoutMs / 2, 1) : leftMs)
        return { reply, isAgain: attempt > 0 }
      } catch (thrown) {
        if (isRefusal(thrown)) {
          metrics.refused.add()
          throw takesNothing.test(thrown.message) ? unavailable(thrown) : fault(thrown)
        }
        cause = thrown
        if (said !== connections) metrics.lost.add()
        else if (thrown instanceof RedisTimeout) {
          metrics.timeout.add()
          become('away')
          connection.reconnect()
        } else await change(pauseMs)
      }
    }
  }

  return {
    ask(script, key, args) {
      const call = ask(script, key, args)
      calls.add(call)
      const ended = () => void calls.delete(call)
      call.then(ended, ended)
      return call
    },
    async firstCheck(limitMs) {
      const endsAtMs = performance.now() + limitMs
      while (state === 'away' && performance.now() < endsAtMs) await change(endsAtMs - performance.now())
      return state === 'away' ? undefined : problem === undefined ? {} : { problem }
    },
    async close() {
      isClosed = true
      clearTimeout(recheck)
      // Who waits for Redis waits no more; who has asked it gets its answer.
      for (const go of waiting) go()
      await Promise.allSettled(calls)
      await connection.close()
    },
  }
}
