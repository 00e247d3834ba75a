import { databaseErrors } from './errors'
import { createLine, type Line } from './line'
import type { Meters } from './meters'

/** The line before the connections of a database, or its one writer. */
export interface Entrance extends Pick<Line, 'leave' | 'idle' | 'inUse' | 'waiting'> {
  /**
   * @param txLeftMs what is left of a transaction's time, when it is for one
   * @returns undefined when there is a place at once; rejects with Busy when too many wait, or it waited too long
   */
  enter(txLeftMs?: number): Promise<void> | undefined
}

export function createEntrance(options: { places: number; waitingMax: number; acquireTimeoutMs: number }, meters: Meters): Entrance {
  const { places, waitingMax, acquireTimeoutMs } = options
  const busy = () => databaseErrors.Busy({ retryAfterSeconds: 1 })
  const line = createLine({ places, waitingMax, full: busy })
  const late = () => {
    meters.acquireTimeouts.add()
    return busy()
  }
  return {
    leave: line.leave,
    idle: line.idle,
    get inUse() {
      return line.inUse
    },
    get waiting() {
      return line.waiting
    },
    enter(txLeftMs = Number.POSITIVE_INFINITY) {
      const turn = txLeftMs < acquireTimeoutMs ? line.enter(txLeftMs, () => databaseErrors.TxTimeout()) : line.enter(acquireTimeoutMs, late)
      if (!turn) return undefined
      const startedMs = performance.now()
      return turn.finally(() => meters.acquireWaitSeconds.observe((performance.now() - startedMs) / 1000))
    },
  }
}
