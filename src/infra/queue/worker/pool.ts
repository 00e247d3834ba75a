import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import type { Clock } from '@/core/clock'
import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import {
  type Claim,
  type Claimed,
  type ClaimLimits,
  type ExchangeReply,
  exchangeMax,
  type Finish,
  type QueueDriver,
  idsLoggedMax,
} from '../driver'
import type { Samples } from '../latency'
import { beforeOf } from './before'
import type { BeatNews, LiveClaim } from './beater'
import { createCalls } from './calls'
import { type Skills, isSuspect, liveClaimOf, sortClaimed } from './claims'
import type { Heartbeats } from './heartbeats'
import { finishBatch, leaseTrustMs, nothingPauseMs, exchangesMax, type WorkerLimits } from './limits'
import type { QueueMeters } from './meters'
import type { Run } from './run'
import { createReports } from './progress'
import { createRuns } from './runs'
import type { Slots } from './slots'

/**
 * Works one queue: claims as many tasks as slots are free, runs them, says how they ended. Both go in one call where they can: how
 * attempts ended is kept until a claim goes out anyway, or `finishBatch` of them have, or for `flushMs`. Under load batches grow
 * by themselves, since whatever ends while a call is under way goes with the next.
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
  slots: Slots
  worker: string
  /** What the queue may not exceed over all processes. */
  claimLimits?: ClaimLimits | undefined
  leaseMs: number
  skills: Skills
  heartbeats: Heartbeats
  /** Whether a suspect runs in this process, of whichever queue. */
  isSuspectRunning(): boolean
  limits: WorkerLimits
  meters: QueueMeters
  samples: Samples
  log: Log
  clock: Clock
  random: () => number
}

export function createPool(options: PoolOptions): Pool {
  const { driver, queue, slots, worker, claimLimits, leaseMs, skills, heartbeats, isSuspectRunning } = options
  const { limits, meters, samples, log, clock, random } = options
  /** How attempts have ended, and nobody has been told. */
  let untold: Finish[] = []
  let exchanges = 0
  /** Slots that a claim under way may fill. */
  let claiming = 0
  /** Finishes under way. */
  let telling = 0
  let mayHaveWork = true
  /** The last claim got all that it asked for. */
  let isDeep = false
  let isPassingOn = false
  let mustTell = false
  let isPumpDue = false
  let isStopping = false
  let unwatch = () => {}
  let lookTimer: ReturnType<typeof setTimeout> | undefined
  let tellTimer: ReturnType<typeof setTimeout> | undefined
  let whenTold: (() => void) | undefined

  const reports = createReports({ driver, queue, log, random, everyMs: limits.progressMs, lost: held => runs.lost(held) })
  const runs = createRuns({
    ...{ leaseMs, limits, meters, samples, log, clock, random, reports, before: beforeOf({ driver, queue, random }) },
    tell,
    freed,
    batchOver: heartbeats.over,
  })
  const calls = createCalls({ driver, queue, meters, log, random, wentAway: () => seat.freed() })
  const seat = slots.seat(queue, {
    // While the queue is away, others of a pool take what its claims wait for.
    taken: () => runs.size + (calls.isAway && seat.isShared ? 0 : claiming),
    isHungry: () => !isStopping && !calls.isAway && (mayHaveWork || claiming > 0) && leftOfMax() > 0,
    offer: pumpSoon,
  })

  function tell(finish: Finish): void {
    untold.push(finish)
    // What has ended may let another start, of the same lane or under the same number: claimed with the word that it has.
    if (claimLimits) mayHaveWork = true
    freed()
  }

  function freed(): void {
    pumpSoon()
    seat.freed()
  }

  /** After all that ends now has ended. */
  function pumpSoon(): void {
    if (isPumpDue) return
    isPumpDue = true
    setImmediate(pump)
  }

  /** How many more may run here, were there no other process: asking for more would keep slots from others. */
  function leftOfMax(): number {
    const max = claimLimits?.concurrency
    return max === undefined ? Number.POSITIVE_INFINITY : max - (runs.size - runs.stuck) - claiming
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
    // Who waits for an answer has more work as well, and would come off worse among others if it asked for one claim at a time.
    if (isStopping || isPassingOn || !(mayHaveWork || (isDeep && seat.isContended()))) return 0
    return Math.min(seat.free(), leftOfMax(), exchangeMax)
  }

  async function exchange(count: number): Promise<void> {
    const finish = untold.length > exchangeMax ? untold.splice(0, exchangeMax) : untold
    if (finish === untold) untold = []
    mustTell = untold.length > 0
    clearTimeout(tellTimer)
    tellTimer = undefined
    const claim: Claim | undefined = count > 0 ? claimOf(count) : undefined
    exchanges++
    claiming += count
    telling += finish.length
    // Of the first try: the lease began then, whichever of them is answered.
    const sentAtMs = performance.now()
    const reply = await calls.untilAnswered({ ...(finish.length > 0 && { finish }), ...(claim && { claim }) })
    exchanges--
    claiming -= count
    if (reply) telling -= finish.length
    if (reply) {
      lookAgain(reply, count)
      if (claim && reply.claimed.length < count) seat.unused(count - reply.claimed.length)
      if (finish.length > 0) noteStale(finish, reply)
      if (claim) take(reply.claimed, claim.nonce, sentAtMs)
    }
    pump()
  }

  function claimOf(count: number): Claim {
    mayHaveWork = false
    seat.claims(count)
    const claim = { worker, nonce: newNonce(), count, leaseMs }
    return claimLimits ? { ...claim, limits: claimLimits } : claim
  }

  /** When to claim next. Who got all that was asked for asks again with the first free slot, since drivers do not wake whoever is full. */
  function lookAgain({ nextDueMs, claimed }: ExchangeReply, asked: number): void {
    if (isStopping) return
    const isFull = asked > 0 && claimed.length === asked
    if (asked > 0) isDeep = isFull
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
    // While it was away, others of its pool may have taken the slots that it had claimed for.
    const room = isStopping || isTooLate ? 0 : seat.isShared ? seat.room() : claimed.length
    if (room < claimed.length) {
      for (const { id, attempt } of claimed.slice(room).toReversed()) untold.push({ id, attempt, nonce, outcome: 'release' })
      if (room === 0) return
    }
    const taken = room < claimed.length ? claimed.slice(0, room) : claimed
    const { runs: ready, finishes } = sortClaimed(taken, nonce, sentAtMs, {
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
    if (seat.isShared && mayHaveWork && !isPassingOn && seat.room() === 0) void passOn()
  }

  /** Other queues have all slots: the word that there is work is for another process. Who claims nothing and gets it is as busy as can be. */
  async function passOn(): Promise<void> {
    isPassingOn = true
    await calls.untilAnswered({ claim: { worker, nonce: newNonce(), count: 0, leaseMs } })
    isPassingOn = false
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
      seat.freed()
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
      calls.giveUp()
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
