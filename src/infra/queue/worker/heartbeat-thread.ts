import { parentPort } from 'node:worker_threads'
import type { Config } from '@/core/config/settings'
import type { Log, LogLevel } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { type Beater, createBeater } from './beater'
import type { FromThread, ToThread } from './heartbeats'
import { openOwnDriver } from './own-driver'

// The thread of the heartbeats: an entrypoint of its own, also of the executable. It has a driver of its own, and tells the other
// thread what the queue says; so a handler that blocks the other one loses no lease.

/** The queue may be away when the process starts. */
const openPauseMs = 500

/**
 * How far this thread's monotonic clock is ahead of the other one's, and more by the shortest delay of a message. So an instant of
 * this clock, said by the other one, is never later than it was: a lease is rather given up too early.
 */
let aheadMs = Number.POSITIVE_INFINITY
let beater: Beater | undefined
let closeDriver = async () => {}
let isStopping = false
/** What was said before there was a beater. */
const early: ToThread[] = []

const say = (message: FromThread) => parentPort?.postMessage(message)

parentPort?.on('message', (message: ToThread) => {
  aheadMs = Math.min(aheadMs, performance.now() - message.atMs)
  take(message)
})
say({ kind: 'up' })

function take(message: ToThread): void {
  if (message.kind === 'open') void open(message.config, message.leaseMs)
  else if (message.kind === 'stop') void stop()
  else if (!beater) early.push(message)
  else {
    if (message.over !== '') beater.over(message.over.split(' '))
    if (message.kind === 'claim') beater.vouchFor(message)
  }
}

async function open(config: Config, leaseMs: number): Promise<void> {
  const log = logTo(config.log.level)
  let isSaid = false
  while (!isStopping) {
    try {
      const { driver, close } = await openOwnDriver(config, { log: silent, metrics: noMetrics })
      closeDriver = close
      beater = createBeater({ driver, leaseMs, log, tell: news => say({ kind: 'news', ...news, sentAtMs: news.sentAtMs - aheadMs }) })
      for (const message of early.splice(0)) take(message)
      return
    } catch (thrown) {
      if (!isSaid) log.warn('the heartbeats cannot open the queue; they try again', { err: thrown })
      isSaid = true
      await Bun.sleep(openPauseMs)
    }
  }
}

async function stop(): Promise<void> {
  isStopping = true
  await beater?.stop()
  await closeDriver()
  say({ kind: 'stopped' })
}

/** Lines are written by the other thread, so that they do not run into each other. Errors go as texts: not all of one can be sent. */
function logTo(level: Config['log']['level']): Log {
  const line =
    (own: LogLevel) =>
    (message: string, fields: object = {}) =>
      say({ kind: 'log', level: own, message, fields: 'err' in fields ? { ...fields, err: String(fields.err) } : fields })
  const isDebug = level === 'debug'
  return {
    debug: isDebug ? line('debug') : () => {},
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    enabled: asked => isDebug || asked !== 'debug',
  }
}

/** The other thread's driver says and counts the same of the same server. When the beats are not answered, the beater says so. */
const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, enabled: () => false }
const noMetrics: Metrics = {
  counter: () => ({ with: () => ({ add: () => {} }) }),
  histogram: () => ({ with: () => ({ observe: () => {} }) }),
  gauge: () => () => {},
  expose: async () => ({ text: '', contentType: 'text/plain' }),
}
