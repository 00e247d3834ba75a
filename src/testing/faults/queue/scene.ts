import { appendFileSync } from 'node:fs'
import { expect } from 'bun:test'
import type { AnyTask } from '@/core/queue/task'
import type { Static } from '@/core/schema'
import type { NewTask, QueueDriver } from '@/infra/queue/driver'
import { type EnvelopeOptions, packEnvelope } from '@/infra/queue/envelope'
import type { WorkerLimits } from '@/infra/queue/worker/limits'
import { eachLine, temporaryFolder } from '../../bingo'
import { type LedgerEntry, readLedger } from './ledger'
import { faultTasks, type FaultTaskName } from './tasks'
import { shiftedClock } from './shifted-clock'
import { startedWord, type WorkerProcessOptions, workerVariable } from './worker-process'

/** Where the tasks are kept. */
export interface Place {
  /** The settings that lead a worker there. */
  env: Record<string, string>
  /** As this process has it. */
  driver: QueueDriver
}

/** One queue in some place, the processes that work it, and what they did. */
export interface QueueScene extends AsyncDisposable {
  queue: string
  driver: QueueDriver
  leaseMs: number
  /** Resolves when it claims tasks. */
  work(over?: WorkerOver): Promise<WorkerProcess>
  /** All that were started and have not ended. */
  readonly workers: readonly WorkerProcess[]
  /** Pids of those that were killed, and when, in ms since 1970. */
  readonly killed: ReadonlyMap<number, number>
  newTask<N extends FaultTaskName>(name: N, payload: Static<(typeof faultTasks)[N]['schema']>, over?: TaskOver): NewTask
  /** Enqueues one and says its id. */
  enqueue<N extends FaultTaskName>(name: N, payload: Static<(typeof faultTasks)[N]['schema']>, over?: TaskOver): Promise<string>
  ledger(): LedgerEntry[]
  /** Resolves when there is such a line. */
  noted(is: (entry: LedgerEntry) => boolean, limitMs?: number): Promise<LedgerEntry>
  /** Resolves when nothing waits, is scheduled or active. @returns after how many milliseconds */
  settled(limitMs: number): Promise<number>
}

export interface WorkerProcess {
  pid: number
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
  /** SIGTERM. @returns its exit code */
  stop(): Promise<number>
  /** SIGSTOP and SIGCONT. */
  pause(): void
  resume(): void
  /** What it has logged. */
  readonly log: readonly { level: string; message: string; [field: string]: unknown }[]
  exited: Promise<number>
}

export interface SceneOptions {
  leaseMs?: number
  queue?: string
}
export type WorkerOver = Partial<Pick<WorkerProcessOptions, 'concurrency' | 'claimLimits' | 'clockOffsetMs' | 'beatsWithHandlers'>> & {
  env?: Record<string, string>
  limits?: Partial<WorkerLimits>
}
export type TaskOver = Partial<NewTask> & { said?: EnvelopeOptions }

/** For what has no limit of its own here. */
const patienceMs = 15_000
const pollMs = 10
const startLimitMs = 20_000

let scenes = 0

export function openQueueScene(place: Place, { leaseMs = 3000, queue = `q${scenes++}` }: SceneOptions = {}): QueueScene {
  const folder = temporaryFolder()
  const path = `${folder.path}/ledger`
  appendFileSync(path, '')
  const { driver } = place
  const workers: WorkerProcess[] = []
  const killed = new Map<number, number>()
  const ended = (worker: WorkerProcess) => void (workers.includes(worker) && workers.splice(workers.indexOf(worker), 1))

  async function work(over: WorkerOver = {}): Promise<WorkerProcess> {
    const { env = {}, concurrency = 8, claimLimits, clockOffsetMs = 0, limits = {}, beatsWithHandlers = false } = over
    const options: WorkerProcessOptions = {
      env: { BINGO_QUEUE_LEASE_MS: String(leaseMs), ...place.env, ...timeoutWithin(place.env, leaseMs), ...env },
      ...{ queue, concurrency, ledger: path, clockOffsetMs, limits, beatsWithHandlers },
      ...(claimLimits && { claimLimits }),
    }
    const child = Bun.spawn([process.execPath, `${import.meta.dir}/worker-process.ts`], {
      env: { ...process.env, ...shiftedClock(clockOffsetMs), [workerVariable]: JSON.stringify(options) },
      ...{ stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' },
    })
    const log: WorkerProcess['log'][number][] = []
    const started = Promise.withResolvers<void>()
    void eachLine(child.stdout, line => {
      if (line === startedWord) started.resolve()
      else log.push(JSON.parse(line))
    })
    const worker: WorkerProcess = {
      ...{ pid: child.pid, log, exited: child.exited },
      async kill() {
        killed.set(child.pid, Date.now())
        child.kill('SIGKILL')
        await child.exited
      },
      stop() {
        child.kill('SIGTERM')
        return child.exited
      },
      pause: () => child.kill('SIGSTOP'),
      resume: () => child.kill('SIGCONT'),
    }
    workers.push(worker)
    void child.exited.then(() => {
      ended(worker)
      started.reject(new Error(`a worker ended before it had started: ${JSON.stringify(log)}`))
    })
    started.promise.catch(() => {})
    await withLimit(started.promise, startLimitMs, 'a worker did not start')
    return worker
  }

  const newTask: QueueScene['newTask'] = (name, payload, { said = {}, ...over } = {}) => {
    const task: AnyTask = faultTasks[name]
    const envelope = packEnvelope({ task: task.name, payload, enqueuedAtMs: Date.now(), headers: {}, said })
    return { id: Bun.randomUUIDv7(), isIdKept: false, priority: 5, delayMs: 0, envelope, ...over }
  }

  return {
    ...{ queue, driver, leaseMs, work, workers, killed, newTask },
    async enqueue(name, payload, over) {
      const task = newTask(name, payload, over)
      const [reply] = await driver.enqueue(queue, [task])
      expect(reply).toEqual({ id: task.id, status: 'enqueued' })
      return task.id
    },
    ledger: () => readLedger(path),
    async noted(is, limitMs = patienceMs) {
      let found: LedgerEntry | undefined
      await eventually(
        () => {
          found = readLedger(path).find(is)
          return found !== undefined
        },
        limitMs,
        () => 'the ledger does not say so',
      )
      return found as LedgerEntry
    },
    async settled(limitMs) {
      const beganMs = performance.now()
      let left: unknown
      await eventually(
        async () => {
          // While the store is away nobody knows.
          const stats = await driver.stats(queue).catch(() => undefined)
          left = stats
          return stats !== undefined && stats.waiting + stats.scheduled + stats.active === 0
        },
        limitMs,
        () => `the queue has not settled: ${JSON.stringify(left)}`,
      )
      return performance.now() - beganMs
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...workers].map(worker => worker.kill()))
      folder[Symbol.dispose]()
    },
  }
}

async function withLimit<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${limitMs} ms`)), limitMs)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** Looks again and again. @throws Error that says `what` when it is not so in time */
export async function eventually(isSo: () => Promise<boolean> | boolean, limitMs: number, what: () => string): Promise<void> {
  const endsAtMs = performance.now() + limitMs
  while (!(await isSo())) {
    if (performance.now() > endsAtMs) throw new Error(`${what()} within ${limitMs} ms`)
    await Bun.sleep(pollMs)
  }
}

/** A third of the lease at most is what a configuration may say. */
const timeoutWithin = ({ BINGO_QUEUE_TIMEOUT_MS: said }: Readonly<Record<string, string>>, leaseMs: number) =>
  said === undefined ? {} : { BINGO_QUEUE_TIMEOUT_MS: String(Math.min(Number(said), Math.floor(leaseMs / 3))) }
