import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import type { Clock } from '@/core/clock'
import { backoffMs } from '@/core/backoff'
import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import {
  type Claim,
  type Claimed,
  type Exchange,
  type ExchangeReply,
  exchangeMax,
  type Finish,
  type FinishStatus,
  isPassing,
  type QueueDriver,
  idsLoggedMax,
} from '../driver'
import type { BeatNews, LiveClaim } from './beater'
import { type Skills, isSuspect, liveClaimOf, sortClaimed } from './claims'
import type { Heartbeats } from './heartbeats'
import { awayMs, finishBatch, leaseTrustMs, nothingPauseMs, exchangesMax, type WorkerLimits } from './limits'
import type { QueueMeters } from './meters'
import type { Run } from './run'
import { createReports } from './progress'
import { createRuns } from './runs'

/**
 * Works one queue: claims as many tasks as slots are free, runs them, says how they ended. Both go in one call where they can: how
 * attempts ended is kept until a claim goes out anyway, or `finishBatch` of them have, or for `flushMs`. Under load batches grow
 * by themselves, since whatever ends while a call is under way goes with the next.
 *
 * A call that got no answer is made again with the same arguments until it gets one, so nothing that ended is forgotten, and what
 * was claimed without our knowing it is found. One that was refused would be again: then each attempt is told of by itself, and the
 * one at fault is given up, whose lease then ends.
 */
export interface Pool {
  /** Attempts whose handlers go on. */
  readonly running: number
  readonly stuck: number
  readonly hasSuspect: boolean
  start(): void
  /** There may be something to claim. */
  wake(): void
  heard(news: BeatNews): void
  liveClaims(): LiveClaim[]
  /** Claims no more; what runs has `graceMs`, then it is told to end. Resolves when the queue has been told of all that it can be told of. */
  stop(graceMs: number): Promise<void>
}

export interface PoolOptions {
  driver: QueueDriver
  queue: string
  concurrency: number
  worker: string
  leaseMs: number
  skills: Skills
  heartbeats: Heartbeats
  /** Whether a suspect runs in this process, of whichever queue. */
  isSuspectRunning(): boolean
  limits: WorkerLimits
  meters: QueueMeters
  log: Log
  clock: Clock
  random: () => number
}

export function createPool(options: PoolOptions): Pool {
  const { driver, queue, concurrency, worker, leaseMs, skills, heartbeats, isSuspectRunning, limits, meters, log, clock, random } = options
  /** How attempts have ended, and nobody has been told. */
  let untold: Finish[] = []
  let exchanges = 0
  /** Slots that a claim under way may fill. */
  let claiming = 0
  /** Finishes under way. */
  let telling = 0
  let mayHaveWork = true
  let mustTell = false
  let isPumpDue = false
  let isAway = false
  let isClaimRefused = false
  let isStopping = false
  let isGivenUp = false
  let unwatch = () => {}
  let lookTimer: ReturnType<typeof setTimeout> | undefined
  let tellTimer: ReturnType<typeof setTimeout> | undefined
  let whenTold: (() => void) | undefined

  const reports = createReports({ driver, queue, log, random, everyMs: limits.progressMs, lost: held => runs.lost(held) })
  const runs = createRuns({
    ...{ leaseMs, limits, meters, log, clock, random, reports },
    tell,
    freed: pumpSoon,
    batchOver: heartbeats.over,
  })

  function tell(finish: Finish): void {
    untold.push(finish)
    pumpSoon()
  }

  /** After all that ends now has ended. */
  function pumpSoon(): void {
    if (isPumpDue) return
    isPumpDue = true
    setImmediate(pump)
  }

  function pump(): void {
    isPumpDue = false
    while (exchanges < exchangesMax) {
      const count = claimable()
      if (count === 0 && !(untold.length > 0 && (mustTell || isStopping || untold.length >= finishBatch))) break
      void exchange(count)
    }
    if (untold.length > 0) tellTimer ??= setTimeout(tellNow, limits.flushMs)
    if (exchanges === 0 && untold.length === 0) whenTold?.()
  }

  function tellNow(): void {
    tellTimer = undefined
    mustTell = true
    pump()
  }

  function claimable(): number {
    if (isStopping || !mayHaveWork) return 0
    return Math.min(concurrency - runs.size - claiming, exchangeMax)
  }

  async function exchange(count: number): Promise<void> {
    const finish = untold.length > exchangeMax ? untold.splice(0, exchangeMax) : untold
    if (finish === untold) untold = []
    mustTell = untold.length > 0
    clearTimeout(tellTimer)
    tellTimer = undefined
    const claim: Claim | undefined = count > 0 ? { worker, nonce: newNonce(), count, leaseMs } : undefined
    if (claim) mayHaveWork = false
    exchanges++
    claiming += count
    telling += finish.length
    // Of the first try: the lease began then, whichever of them is answered.
    const sentAtMs = performance.now()
    const reply = await untilAnswered({ ...(finish.length > 0 && { finish }), ...(claim && { claim }) })
    exchanges--
    claiming -= count
    if (reply) telling -= finish.length
    if (reply) {
      lookAgain(reply, count)
      if (finish.length > 0) noteStale(finish, reply)
      if (claim) take(reply.claimed, claim.nonce, sentAtMs)
    }
    pump()
  }

  /** @returns undefined when nobody waits for it any more */
  async function untilAnswered(exchange: Exchange): Promise<ExchangeReply | undefined> {
    for (let failures = 0; !isGivenUp; failures++) {
      try {
        const reply = await driver.exchange(queue, exchange)
        if (isAway) log.info('the queue is back', { queue })
        isAway = false
        if (exchange.claim) isClaimRefused = false
        return reply
      } catch (thrown) {
        if (!isPassing(thrown)) return refused(exchange, thrown)
        meters.away.add()
        if (!isAway) log.warn('the queue does not answer; it is asked again', { queue, err: thrown })
        isAway = true
        if (!isGivenUp) await Bun.sleep(backoffMs(awayMs, failures, random))
      }
    }
    return undefined
  }

  async function refused({ finish = [], claim }: Exchange, err: unknown): Promise<ExchangeReply | undefined> {
    const [first] = finish
    if (finish.length > 1 || (first && claim)) return oneByOne(finish, claim)
    meters.refused.add()
    if (first) {
      const { id, attempt, outcome } = first
      log.error('the queue refuses to be told how an attempt ended: its lease ends, and it is made again', {
        ...{ queue, id, attempt, outcome, err },
      })
      return { finished: ['gone'], claimed: [] }
    }
    if (!isClaimRefused) log.error('the queue refuses to give tasks; it is asked again now and then', { queue, err })
    isClaimRefused = true
    return { finished: [], claimed: [] }
  }

  async function oneByOne(finish: readonly Finish[], claim: Claim | undefined): Promise<ExchangeReply | undefined> {
    const finished: FinishStatus[] = []
    for (const each of finish) {
      const reply = await untilAnswered({ finish: [each] })
      if (!reply) return undefined
      finished.push(...reply.finished)
    }
    const reply = claim ? await untilAnswered({ claim }) : { claimed: [], nextDueMs: 0 }
    return reply && { ...reply, finished }
  }

  /** When to claim next. Who got all that was asked for asks again with the first free slot, since drivers do not wake whoever is full. */
  function lookAgain({ nextDueMs, claimed }: ExchangeReply, asked: number): void {
    if (isStopping) return
    const isFull = asked > 0 && claimed.length === asked
    if (isFull || (nextDueMs === 0 && (asked === 0 || claimed.length > 0))) {
      mayHaveWork = true
      return
    }
    if (nextDueMs === undefined && asked === 0) return
    const dueMs = nextDueMs === 0 ? nothingPauseMs : Math.ceil(nextDueMs ?? Number.POSITIVE_INFINITY)
    clearTimeout(lookTimer)
    lookTimer = setTimeout(wake, Math.min(dueMs, limits.pollMs * (1 - random() / 5)))
  }

  function noteStale(finish: readonly Finish[], { finished }: ExchangeReply): void {
    const stale = finish.filter((_, i) => finished[i] === 'stale')
    if (stale.length === 0) return
    meters.stale.add(stale.length)
    log.warn('attempts ended when their tasks were somebody else’s already', {
      queue,
      count: stale.length,
      ids: stale.slice(0, idsLoggedMax).map(({ id }) => id),
    })
  }

  function take(claimed: readonly Claimed[], nonce: string, sentAtMs: number): void {
    if (claimed.length === 0) return
    // An answer that took so long, or was not read for so long, brings tasks that may be somebody else's at any moment.
    const isTooLate = performance.now() > sentAtMs + leaseTrustMs(leaseMs)
    if (isStopping || isTooLate) {
      for (const { id, attempt } of claimed.toReversed()) untold.push({ id, attempt, nonce, outcome: 'release' })
      return
    }
    const { runs: ready, finishes } = sortClaimed(claimed, nonce, sentAtMs, {
      ...{ queue, skills, limits, log, clock, isSuspectRunning, random },
      isRunning: runs.isRunning,
    })
    for (const finish of finishes) untold.push(finish)
    if (ready.length === 0) return
    heartbeats.vouchFor(liveClaimOf(queue, nonce, ready, limits))
    for (const run of ready) runs.start(run)
  }

  function wake(): void {
    if (isStopping) return
    mayHaveWork = true
    pump()
  }

  return {
    get running() {
      return runs.size
    },
    get stuck() {
      return runs.stuck
    },
    get hasSuspect() {
      return [...runs.all()].some(isSuspect)
    },
    start() {
      // Whoever enqueues in this process may wake us from within a request or a transaction, which no task is part of.
      const apart = AsyncLocalStorage.snapshot()
      unwatch = driver.watch(queue, { wake: () => apart(wake), cancelled: id => apart(runs.cancel, id) })
      pump()
    },
    wake,
    heard({ beaten, lost, cancelled, sentAtMs }) {
      runs.beaten(beaten, sentAtMs)
      runs.lost(lost)
      runs.cancelled(cancelled)
    },
    liveClaims() {
      const byNonce = Map.groupBy(runs.all(), ({ nonce }: Run) => nonce)
      return [...byNonce].map(([nonce, batch]) => liveClaimOf(queue, nonce, batch, limits))
    },
    async stop(graceMs) {
      isStopping = true
      unwatch()
      clearTimeout(lookTimer)
      pump()
      await within(graceMs, runs.settled())
      runs.abortAll('shutdown')
      await within(limits.lastChanceMs, runs.settled())
      runs.giveUp()
      await within(
        limits.farewellMs,
        new Promise<void>(resolve => {
          whenTold = resolve
          pump()
        }),
      )
      isGivenUp = true
      runs.close()
      reports.close()
      clearTimeout(tellTimer)
      const count = untold.length + telling
      if (count > 0) log.error('the queue could not be told how the last attempts ended', { queue, count })
    },
  }
}

/** Resolves then, or when it has lasted long enough. */
const within = (limitMs: number, work: Promise<void>): Promise<void> => withDeadline(work, limitMs, () => new Error('late')).catch(() => {})

const newNonce = () => randomBytes(12).toString('base64url')
