import type { Clock } from '@/core/clock'
import type { Log } from '@/core/log'
import { type AbortReason, TaskAborted } from '@/core/queue/task'
import type { Finish, Held } from '../driver'
import { readyMsOf } from '../envelope'
import type { Samples } from '../latency'
import { leaseTrustMs, type WorkerLimits } from './limits'
import type { QueueMeters } from './meters'
import type { Reports } from './progress'
import { type Ended, failed, returned } from './outcome'
import { abort, callHandler, type ContextTools, logFields, type Run } from './run'

/**
 * The attempts of one queue that run in this process, each in one slot, and what ends them before their handlers do.
 *
 * An attempt is told to end when its time is over, when its lease may be lost, when it is cancelled, and at a shutdown. It has
 * `abortGraceMs` to do so. One that goes on regardless is **stuck**, and then:
 *
 * - The queue is told what it would have been told had the handler thrown: a timeout is a failure, with its backoff and counted
 *   against its retries, as the author of the task was promised; were its lease only left to lapse, it would count as a crash,
 *   be retried at once, be `poison` after four runs, and a task that may be tried once would run four times.
 * - Its slot stays taken until the handler ends, since it takes what a slot stands for: memory, connections, an outside server's
 *   patience. A metric and a line of the log say so. When all slots are stuck, this process works the queue no more.
 * - Its lease is not prolonged any more: the heartbeats were told the limit when it began, so that holds too while the handler
 *   blocks this thread. Then nobody can tell the queue anything; the lease lapses, and it is a crash after all.
 * - What the handler returns or throws after that is for the log only. Had it been sent, the queue would find it stale.
 * - While it goes on, the same task is not run here a second time, though other processes may run it: two of them that share this
 *   process's memory is what its author expects least. Who claims it here puts it off (`isRunning`).
 */
export interface Runs {
  /** Those that have not ended, stuck ones too: as many slots are taken. */
  readonly size: number
  readonly stuck: number
  isRunning(id: string): boolean
  start(run: Run): void
  cancel(id: string): void
  /** The queue says that these are ours. @param sentAtMs when it was asked, by the monotonic clock */
  beaten(held: readonly Held[], sentAtMs: number): void
  lost(held: readonly Held[]): void
  /** The queue says that somebody has asked for their end. */
  cancelled(held: readonly Held[]): void
  abortAll(reason: AbortReason): void
  /** Tells the queue of all that have been told to end and have not, without waiting any longer. */
  giveUp(): void
  /** Resolves when all have ended but those that are stuck. */
  settled(): Promise<void>
  all(): Iterable<Run>
  /** Looks after nobody any more. */
  close(): void
}

export interface RunsOptions {
  leaseMs: number
  limits: WorkerLimits
  meters: QueueMeters
  samples: Samples
  log: Log
  clock: Clock
  random: () => number
  reports: Reports
  before: ContextTools['before']
  /** Takes what the queue is to be told. */
  tell(finish: Finish): void
  /** A slot is free, though nothing is to be told. */
  freed(): void
  /** The last of a batch has ended. */
  batchOver(nonce: string): void
}

const isAnythingLeft = (finish: Finish) => (finish.outcome === 'done' ? Boolean(finish.keepForMs) : finish.outcome !== 'cancelled')

/** Messages of the heartbeats that came while this thread was blocked are read within this, before a lease is given up for lost. */
const doubtMs = 20

export function createRuns(options: RunsOptions): Runs {
  const { leaseMs, limits, meters, samples, log, clock, random, reports, before, tell, freed, batchOver } = options
  const running = new Map<string, Run>()
  const trustMs = leaseTrustMs(leaseMs)
  const tools = { log, reports, before }
  let stuck = 0
  let settling: (() => void)[] = []
  // One timer for all: when it rings everybody is looked at, which is seldom. A timer for each would cost more than a short task.
  let timer: ReturnType<typeof setTimeout> | undefined
  let ringsAtMs = Number.POSITIVE_INFINITY

  function ringAt(atMs: number): void {
    if (atMs >= ringsAtMs) return
    clearTimeout(timer)
    ringsAtMs = atMs
    timer = setTimeout(look, Math.max(0, Math.ceil(atMs - performance.now())))
  }

  function look(): void {
    ringsAtMs = Number.POSITIVE_INFINITY
    const nowMs = performance.now()
    for (const run of running.values()) {
      act(run, nowMs)
      ringAt(nextAtMs(run))
    }
  }

  function act(run: Run, nowMs: number): void {
    if (run.abortedAtMs !== undefined) {
      if (nowMs >= run.abortedAtMs + limits.abortGraceMs) giveUpOn(run, nowMs)
    } else if (nowMs >= run.limitAtMs) {
      end(run, 'timeout', nowMs)
    } else if (nowMs >= run.leaseFromMs + trustMs) {
      run.doubtedAtMs ??= nowMs
      if (nowMs >= run.doubtedAtMs + doubtMs) loseLease(run, nowMs)
    }
  }

  function nextAtMs(run: Run): number {
    if (run.isStuck) return Number.POSITIVE_INFINITY
    if (run.abortedAtMs !== undefined) return run.abortedAtMs + limits.abortGraceMs
    const trustedUntilMs = run.doubtedAtMs === undefined ? run.leaseFromMs + trustMs : run.doubtedAtMs + doubtMs
    return Math.min(run.limitAtMs, trustedUntilMs)
  }

  function end(run: Run, reason: AbortReason, nowMs: number): void {
    if (run.abortedFor) return
    abort(run, reason, nowMs)
    log.info('a task is told to end', { ...logFields(run), reason })
    ringAt(nowMs + limits.abortGraceMs)
  }

  function loseLease(run: Run, nowMs: number): void {
    if (run.abortedFor) return
    meters.leaseLost.add()
    end(run, 'leaseLost', nowMs)
  }

  function giveUpOn(run: Run, nowMs: number): void {
    if (run.isStuck) return
    run.isStuck = true
    stuck++
    const { abortedFor = 'timeout' } = run
    const gone = failed(run, new TaskAborted(abortedFor), random)
    log.warn('a task goes on though it was told to end: its slot stays taken, and the queue gives it to others', {
      ...logFields(run),
      reason: abortedFor,
    })
    note(run, gone, nowMs)
    tell(gone.finish)
    settle()
  }

  function note(run: Run, { finish, err }: Ended, nowMs: number): void {
    const { meters: own } = run.skill
    own.ended[finish.outcome].add()
    own.seconds.observe((nowMs - run.startedAtMs) / 1000)
    samples.ran(nowMs - run.startedAtMs)
    const fields = () => ({ ...logFields(run), durationMs: Math.round(nowMs - run.startedAtMs), reason: run.abortedFor })
    // What was thrown says all that the text does, and where.
    const why = err === undefined && 'error' in finish ? { error: finish.error } : { err }
    // A retry is what the queue is for; a dead letter waits for somebody.
    if (finish.outcome === 'retry') log.info('a task failed, and is tried again', { ...fields(), ...why, delayMs: finish.delayMs })
    else if (finish.outcome === 'dead') log.warn('a task failed for good', { ...fields(), ...why })
    else if (log.enabled('debug')) log.debug('a task ended', { ...fields(), ...why, outcome: finish.outcome })
  }

  /** The next attempt, or whoever looks at what is kept, is to find what it said last: so that is told first. */
  function over(run: Run, how: Ended): void {
    run.isOver = true
    const told = reports.ended(run, isAnythingLeft(how.finish))
    if (told) void told.then(() => ended(run, how))
    else ended(run, how)
  }

  function ended(run: Run, how: Ended): void {
    running.delete(run.id)
    if (--run.batch.left === 0) batchOver(run.batch.nonce)
    if (run.isStuck) {
      const { finish, err } = how
      stuck--
      log.info('a task that went on has ended; the queue has been told before', { ...logFields(run), outcome: finish.outcome, err })
      freed()
    } else {
      note(run, how, performance.now())
      tell(how.finish)
    }
    if (settling.length > 0) settle()
  }

  function settle(): void {
    if (running.size > stuck) return
    for (const resolve of settling) resolve()
    settling = []
  }

  /** The very attempt, and not the one after it. */
  const found = ({ id, nonce }: Held) => {
    const run = running.get(id)
    return run?.nonce === nonce ? run : undefined
  }

  return {
    get size() {
      return running.size
    },
    get stuck() {
      return stuck
    },
    isRunning: id => running.has(id),
    start(run) {
      running.set(run.id, run)
      run.startedAtMs = performance.now()
      run.limitAtMs = Math.min(run.startedAtMs + run.timeoutMs, run.deadlineAtMs)
      run.isAtDeadline = run.limitAtMs === run.deadlineAtMs
      ringAt(nextAtMs(run))
      if (run.attempt === 1) {
        const nowMs = clock.nowMs()
        run.skill.meters.waitSeconds.observe(Math.max(0, nowMs - run.envelope.enqueuedAtMs) / 1000)
        const readyMs = readyMsOf(run.envelope)
        if (readyMs !== undefined) samples.waited(nowMs - readyMs)
      }
      callHandler(run, tools).then(
        result => over(run, returned(run, result, random)),
        thrown => over(run, failed(run, thrown, random)),
      )
    },
    cancel(id) {
      const run = running.get(id)
      if (run) end(run, 'cancelled', performance.now())
    },
    beaten(held, sentAtMs) {
      for (const each of held) {
        const run = found(each)
        if (!run || run.leaseFromMs >= sentAtMs) continue
        run.leaseFromMs = sentAtMs
        delete run.doubtedAtMs
      }
    },
    lost(held) {
      const nowMs = performance.now()
      for (const each of held) {
        const run = found(each)
        if (run) loseLease(run, nowMs)
      }
    },
    cancelled(held) {
      const nowMs = performance.now()
      for (const each of held) {
        const run = found(each)
        if (run) end(run, 'cancelled', nowMs)
      }
    },
    abortAll(reason) {
      const nowMs = performance.now()
      for (const run of running.values()) end(run, reason, nowMs)
    },
    giveUp() {
      const nowMs = performance.now()
      // The last first, since each that is released goes to the head of its line.
      for (const run of [...running.values()].reverse()) if (run.abortedFor) giveUpOn(run, nowMs)
    },
    settled: () =>
      new Promise<void>(resolve => {
        settling.push(resolve)
        settle()
      }),
    all: () => running.values(),
    close: () => clearTimeout(timer),
  }
}
