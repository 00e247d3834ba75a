import type { Config } from '@/core/config/settings'
import { withDeadline } from '@/core/deadline'
import { StartError } from '@/core/error'
import type { Log, LogLevel } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { QueueDriver } from '../driver'
import { type BeatNews, createBeater, type LiveClaim } from './beater'
import { beatAgainMs, heartbeatsStopMs, jittered } from './limits'

/**
 * Where heartbeats come from: a thread, which opens a driver of its own by the configuration. With a driver it is the calling
 * thread, which a handler can block: for tests of what has nothing to do with that.
 */
export type HeartbeatSource = { config: Config } | { driver: QueueDriver }

/** What this thread says to the beater, wherever it is. */
export interface Heartbeats {
  /** @throws StartError when there is no thread to be had */
  start(): Promise<void>
  /** Called before a handler of the claim starts, since it may block this thread. */
  vouchFor(claim: LiveClaim): void
  /** The last of a claim has ended. */
  over(nonce: string): void
  stop(): Promise<void>
}

export interface HeartbeatOptions {
  leaseMs: number
  log: Log
  metrics: Metrics
  random: () => number
  tell(news: BeatNews): void
  /** What runs now, for a thread that takes the place of one that has died. */
  liveClaims(): Iterable<LiveClaim>
}

/** To the thread. `atMs` is the monotonic clock of the sender, which is not that of the thread. */
export type ToThread = { atMs: number } & (
  | { kind: 'open'; config: Config; leaseMs: number }
  | ({ kind: 'claim'; over: string } & LiveClaim)
  | { kind: 'over'; over: string }
  | { kind: 'stop' }
)

/** From the thread; `up` when it can be told things. */
export type FromThread =
  | { kind: 'up' }
  | { kind: 'stopped' }
  | ({ kind: 'news' } & BeatNews)
  | { kind: 'log'; level: LogLevel; message: string; fields: object }

export const createHeartbeats = (source: HeartbeatSource, options: HeartbeatOptions): Heartbeats =>
  'driver' in source ? inThisThread(source.driver, options) : inAnotherThread(source.config, options)

function inThisThread(driver: QueueDriver, options: HeartbeatOptions): Heartbeats {
  const beater = createBeater({ driver, ...options })
  return {
    start: async () => {},
    vouchFor: beater.vouchFor,
    over: nonce => beater.over([nonce]),
    stop: beater.stop,
  }
}

const upLimitMs = 10_000

/** In the executable this code is in its main file, at the root, and the other entrypoints are below it as they are below `src`. */
const isCompiled = import.meta.path === Bun.main
const threadUrl = new URL(isCompiled ? './infra/queue/worker/heartbeat-thread.ts' : './heartbeat-thread.ts', import.meta.url)

function inAnotherThread(config: Config, { leaseMs, log, metrics, random, tell, liveClaims }: HeartbeatOptions): Heartbeats {
  const restarts = metrics
    .counter({ name: 'bingo_task_heartbeat_restarts_total', help: 'How often the thread of the heartbeats died and was started again.' })
    .with({})
  let thread: Worker | undefined
  let isUp = false
  let isStopping = false
  let restart: ReturnType<typeof setTimeout> | undefined
  let sweep: ReturnType<typeof setInterval> | undefined
  const up = Promise.withResolvers<void>()
  const stopped = Promise.withResolvers<void>()
  // Said with the next claim, which under load comes at once: a message costs more than what it says.
  let over: string[] = []

  function say(message: ToThread): void {
    if (isUp) thread?.postMessage(message)
  }

  function takeOver(): string {
    const nonces = over.join(' ')
    over = []
    return nonces
  }

  function begin(): void {
    const own = new Worker(threadUrl)
    thread = own
    own.onmessage = ({ data }: MessageEvent<FromThread>) => {
      if (data.kind === 'up') becomeUp()
      else if (data.kind === 'stopped') stopped.resolve()
      else if (data.kind === 'log') log[data.level](data.message, data.fields)
      else tell(data)
    }
    own.onerror = failed => {
      up.reject(new StartError(`the thread of the heartbeats cannot start: ${failed.message}`))
      log.error('the thread of the heartbeats failed', { why: failed.message })
      own.terminate()
    }
    own.addEventListener('close', () => {
      if (own === thread) died()
    })
  }

  function becomeUp(): void {
    isUp = true
    over = []
    say({ kind: 'open', atMs: performance.now(), config, leaseMs })
    for (const claim of liveClaims()) say({ kind: 'claim', atMs: performance.now(), over: '', ...claim })
    up.resolve()
  }

  function died(): void {
    isUp = false
    thread = undefined
    stopped.resolve()
    if (isStopping) return
    restarts.add()
    log.error('the thread of the heartbeats has died, and is started again')
    restart = setTimeout(begin, jittered(beatAgainMs(leaseMs), random))
  }

  return {
    async start() {
      begin()
      sweep = setInterval(() => {
        if (over.length > 0) say({ kind: 'over', atMs: performance.now(), over: takeOver() })
      }, leaseMs / 6)
      await withDeadline(up.promise, upLimitMs, () => new StartError(`the thread of the heartbeats did not start within ${upLimitMs} ms`))
    },
    vouchFor: claim => say({ kind: 'claim', atMs: performance.now(), over: takeOver(), ...claim }),
    over: nonce => void over.push(nonce),
    async stop() {
      isStopping = true
      clearInterval(sweep)
      clearTimeout(restart)
      if (!thread) return
      const own = thread
      if (isUp) {
        say({ kind: 'stop', atMs: performance.now() })
        await withDeadline(stopped.promise, heartbeatsStopMs, () => new Error('late')).catch(() => {})
      }
      thread = undefined
      own.terminate()
    },
  }
}
