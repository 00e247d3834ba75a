/**
 * Callers that wait, in the order of asking, for one of a few places: the connections of a pool, the one writer of a file, the one
 * statement of a transaction.
 */
export interface Line {
  /**
   * Takes a place, which `leave` gives back.
   * @param limitMs how long to wait for it; for as long as it takes when absent
   * @returns undefined when there is one at once
   */
  enter(limitMs?: number, late?: () => Error): Promise<void> | undefined
  leave(): void
  /** Resolves once nobody has a place. Whoever waits then gets one first. */
  idle(): Promise<void> | undefined
  readonly inUse: number
  readonly waiting: number
}

export interface LineOptions {
  places: number
  waitingMax: number
  /** What a caller gets when too many wait already. */
  full: () => Error
}

interface Waiter {
  resolve(): void
  timer: Timer | undefined
}

export function createLine({ places, waitingMax, full }: LineOptions): Line {
  const waiters = new Set<Waiter>()
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
      return new Promise<void>((resolve, reject) => {
        const waiter: Waiter = { resolve, timer: undefined }
        waiters.add(waiter)
        if (limitMs === undefined) return
        waiter.timer = setTimeout(() => {
          waiters.delete(waiter)
          reject(late())
        }, limitMs)
      })
    },
    leave() {
      for (const waiter of waiters) {
        waiters.delete(waiter)
        clearTimeout(waiter.timer)
        waiter.resolve()
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
