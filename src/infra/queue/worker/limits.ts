/** What a worker waits for, and how long. Each may be said otherwise by a test, which has less time than an operator. */
export interface WorkerLimits {
  /** An attempt that was told to end has so long; one that goes on after that is stuck. */
  abortGraceMs: number
  /** A worker that hears nothing looks by itself so often, up to a fifth sooner. */
  pollMs: number
  /** How an attempt has ended is said with others, at most so late. */
  flushMs: number
  /** Of what handlers say of how far they are, the last of so long is written. */
  progressMs: number
  /** A task that still runs here, though the queue has given it out again, is looked at again after so long. */
  againMs: number
  /** A suspect that is put off waits up to so long for each of those that it came with. */
  apartMs: number
  /** What was told to end at a shutdown has so long. */
  lastChanceMs: number
  /** At a shutdown, how long the queue may take to hear how the last attempts have ended. */
  farewellMs: number
}

export const workerLimits: WorkerLimits = {
  abortGraceMs: 10_000,
  pollMs: 5000,
  flushMs: 5,
  progressMs: 1000,
  againMs: 5000,
  apartMs: 1000,
  lastChanceMs: 1000,
  farewellMs: 1000,
}

/** At a shutdown, how long the heartbeats, which stop last, may take; then their thread is ended. */
export const heartbeatsStopMs = 1000
/** How an attempt has ended is said at once when so many have. */
export const finishBatch = 64
/** Exchanges of one queue under way at a time: while the store does one, the tasks of the other run. */
export const exchangesMax = 2
/** The wait after the queue could not be reached: doubled with each failure up to the most, and up to a half less. */
export const awayMs = { min: 50, max: 2000 }
/** When a claim got nothing though there was said to be more. */
export const nothingPauseMs = 5
/** More runs that their workers did not survive make a task a dead letter. */
export const crashesMax = 3
/** From so many on a task is a suspect: either it kills its workers, or it was beside one that does. */
export const suspectCrashes = 2
/** However many suspects came together, none waits longer than for so many. */
export const suspectsApartMax = 60

/** When an attempt gives its lease up for lost, before it is: by then it must have stopped. @returns milliseconds since the last beat was sent */
export const leaseTrustMs = (leaseMs: number): number => leaseMs - leaseMs / 6
export const beatEveryMs = (leaseMs: number): number => leaseMs / 3
/** After one that failed, and after the thread of the heartbeats died, the next comes sooner. */
export const beatAgainMs = (leaseMs: number): number => leaseMs / 20
export const reapEveryMs = (leaseMs: number): number => Math.min(4000, leaseMs / 8)

/** How full the queues are is looked at so often, for whoever asks for metrics. */
export const depthEveryMs = 5000

/** Up to a tenth more or less, so that processes that start together do not stay together. */
export const jittered = (ms: number, random: () => number): number => ms * (0.9 + 0.2 * random())
