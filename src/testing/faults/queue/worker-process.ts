import { loadConfig } from '@/core/config/load'
import type { Log, LogLevel } from '@/core/log'
import type { ClaimLimits, QueueDriver } from '@/infra/queue/driver'
import { createMetrics } from '@/infra/metrics'
import { createWorker, graceMsOf } from '@/infra/queue/worker'
import type { WorkerLimits } from '@/infra/queue/worker/limits'
import { openOwnDriver } from '@/infra/queue/worker/own-driver'
import { type LedgerWriter, openLedger } from './ledger'
import { faultHandlers } from './tasks'

/** A process that works queues, with its heartbeats in their thread, as `scheduler` does: so that it can be killed. */
export interface WorkerProcessOptions {
  /** The settings: which store, which lease. */
  env: Record<string, string>
  queue: string
  concurrency: number
  /** What the queue may not exceed over all processes. */
  claimLimits?: ClaimLimits
  ledger: string
  /** How far its clock is ahead of the machine's. */
  clockOffsetMs: number
  limits: Partial<WorkerLimits>
  /** Heartbeats come from the thread of the handlers, as they must not: to see that a test would notice. */
  beatsWithHandlers: boolean
}
export const workerVariable = 'BINGO_FAULT_WORKER'

/** What it says on its standard output: a word, and then lines of the log as JSON. */
export const startedWord = 'started'

if (import.meta.main) await main(JSON.parse(process.env[workerVariable] ?? '') as WorkerProcessOptions)

async function main(options: WorkerProcessOptions): Promise<void> {
  const { env, queue, concurrency, claimLimits, ledger: path, clockOffsetMs, limits, beatsWithHandlers } = options
  const { config } = loadConfig({ env, flags: {}, readFile: () => '' })
  const log = linesOf(config.log.level)
  const metrics = createMetrics({ version: 'test', roles: [] })
  const ledger = openLedger(path, clockOffsetMs)
  const { driver, close } = await openOwnDriver(config, { log, metrics })
  const worker = createWorker({
    ...{ log, metrics, limits },
    driver: listeningTo(driver, ledger),
    queues: { [queue]: { concurrency, ...(claimLimits && { claimLimits }) } },
    handlers: faultHandlers(ledger),
    leaseMs: config.queue.leaseMs,
    graceMs: graceMsOf(config.shutdown.deadlineMs),
    heartbeats: beatsWithHandlers ? { driver } : { config },
  })
  await worker.start()
  console.log(startedWord)
  const stop = async () => {
    await worker.stop()
    await close()
    console.log(JSON.stringify({ metrics: (await metrics.expose()).text }))
    process.exit(0)
  }
  process.once('SIGTERM', stop)
  // However the process that started it ends, it does not stay.
  for await (const _ of Bun.stdin.stream());
  process.exit(1)
}

/** Notes what the queue says of attempts that have ended. */
function listeningTo(driver: QueueDriver, ledger: LedgerWriter): QueueDriver {
  return {
    ...driver,
    async exchange(queue, said) {
      const reply = await driver.exchange(queue, said)
      for (const [i, { id, attempt }] of (said.finish ?? []).entries()) ledger.note('told', id, attempt, reply.finished[i])
      return reply
    },
  }
}

function linesOf(least: LogLevel | 'silent'): Log {
  const line =
    (level: LogLevel) =>
    (message: string, fields: object = {}) => {
      if (least === 'silent') return
      console.log(JSON.stringify({ level, message, ...fields }, (_, value) => (value instanceof Error ? String(value) : value)))
    }
  return { debug: () => {}, info: line('info'), warn: line('warn'), error: line('error'), enabled: level => level !== 'debug' }
}
