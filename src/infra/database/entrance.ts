import { databaseErrors } from './errors'
import { createLine, type Entered, type Line } from './line'
import type { Meters } from './meters'

/** The line before the connections of a database, or its one writer. */
export interface Entrance<T = never> extends Pick<Line<T>, 'leave' | 'idle' | 'inUse' | 'waiting'> {
  /**
   * @param txLeftMs what is left of a transaction's time, when it is for one
   * @returns undefined when there is a place at once; rejects with Busy when too many wait, or it waited too long
   */
  enter(txLeftMs?: number): Promise<Entered<T>> | undefined
}

export function createEntrance<T = never>(
  options: { places: number; waitingMax: number; acquireTimeoutMs: number },
  meters: Meters,
): Entrance<T> {
  const { places, waitingMax, acquireTimeoutMs } = options
  const busy = () => databaseErrors.Busy({ retryAfterSeconds: 1 })
  const onWaited = (waitedMs: number) => meters.acquireWaitSeconds.observe(waitedMs / 1000)
  const line = createLine<T>({ places, waitingMax, usualLimitMs: acquireTimeoutMs, full: busy, onWaited })
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
    enter: (txLeftMs = Number.POSITIVE_INFINITY) =>
      txLeftMs < acquireTimeoutMs ? line.enter(txLeftMs, () => databaseErrors.TxTimeout()) : line.enter(acquireTimeoutMs, late),
  }
}
