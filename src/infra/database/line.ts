import { createWaits, type Wait, type Waits } from '../waits'

/**
 * Callers that wait, in the order of asking, for one of a few places: the connections of a pool, the one writer of a file, the one
 * statement of a transaction.
 */
export interface Line<T = never> {
  /**
   * Takes a place, which `leave` gives back.
   * @param limitMs how long to wait for it; for as long as it takes when absent
   * @returns undefined when there is one at once
   */
  enter(limitMs?: number, late?: () => Error): Promise<Entered<T>> | undefined
  /** @param handed what the next in the line is to use, when there is one */
  leave(handed?: T): void
  /** Resolves once nobody has a place. Whoever waits then gets one first. */
  idle(): Promise<void> | undefined
  readonly inUse: number
  readonly waiting: number
}

export interface LineOptions {
  places: number
  waitingMax: number
  /** How long those wait who have a limit, or less. */
  usualLimitMs?: number
  /** What a caller gets when too many wait already. */
  full: () => Error
  /** Told of everyone who had to wait and got a place. */
  onWaited?: (waitedMs: number) => void
}

/** How somebody who had to wait got a place. */
export interface Entered<T> {
  waitedMs: number
  /** From whoever had it before. */
  handed: T | undefined
}

interface Waiter<T> {
  resolve(entered: Entered<T>): void
  sinceMs: number
  wait: Wait | undefined
}

export function createLine<T = never>({
  places,
  waitingMax,
  usualLimitMs = Number.POSITIVE_INFINITY,
  full,
  onWaited,
}: LineOptions): Line<T> {
  // Of a transaction there is a line, too, where nobody has a limit.
  let waits: Waits | undefined
  const waiters = new Set<Waiter<T>>()
  let inUse = 0
  let onIdle: PromiseWithResolvers<void> | undefined

  return {
    get inUse() {
      return inUse
    },
    get waiting() {
      return waiters.size
    },
    enter(limitMs, late = full) {
      if (inUse < places) {
        inUse++
        return undefined
      }
      if (waiters.size >= waitingMax) return Promise.reject(full())
      return new Promise<Entered<T>>((resolve, reject) => {
        const waiter: Waiter<T> = { resolve, sinceMs: performance.now(), wait: undefined }
        waiters.add(waiter)
        if (limitMs === undefined) return
        waits ??= createWaits(usualLimitMs)
        waiter.wait = waits.begin(() => {
          waiters.delete(waiter)
          reject(late())
        }, limitMs)
      })
    },
    leave(handed) {
      for (const waiter of waiters) {
        waiters.delete(waiter)
        if (waiter.wait) waits?.end(waiter.wait)
        const waitedMs = performance.now() - waiter.sinceMs
        onWaited?.(waitedMs)
        waiter.resolve({ waitedMs, handed })
        return
      }
      inUse--
      if (inUse > 0) return
      onIdle?.resolve()
      onIdle = undefined
    },
    idle() {
      if (inUse === 0) return undefined
      onIdle ??= Promise.withResolvers<void>()
      return onIdle.promise
    },
  }
}
