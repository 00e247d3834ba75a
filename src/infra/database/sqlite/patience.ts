import { databaseErrors } from '../errors'
import { isBusy, translated } from './errors'

/**
 * SQLite waits for another process's lock inside the call, which holds up the event loop. So it may wait for `busyBlockMs` only;
 * after that the call is repeated from a timer, with jitter.
 */
export const busyBlockMs = 5
const busyPauseMs = { min: 2, max: 25 }

/**
 * Runs `work`, again and again while another process holds the lock.
 * @param sql for the log
 * @param limitMs for all of it; the database's own limit when absent
 * @param isWanted asked before each repetition; it ends when not
 */
export type Patience = <T>(sql: string, work: () => T, limitMs?: number, isWanted?: () => boolean) => T | Promise<T>

/** @param slow what says that a statement took long, and from when on; statements are not timed without */
export function createPatience(busyLimitMs: number, slow?: { limitMs: number; warn: (sql: string, durationMs: number) => void }): Patience {
  const slowMs = slow?.limitMs ?? Number.POSITIVE_INFINITY

  async function retry<T>(sql: string, work: () => T, startedMs: number, limitMs: number, isWanted: () => boolean): Promise<T> {
    while (performance.now() < startedMs + limitMs) {
      await Bun.sleep(busyPauseMs.min + Math.random() * (busyPauseMs.max - busyPauseMs.min))
      if (!isWanted()) break
      try {
        const result = work()
        const tookMs = performance.now() - startedMs
        if (tookMs >= slowMs) slow?.warn(sql, tookMs)
        return result
      } catch (thrown) {
        if (!isBusy(thrown)) throw translated(thrown)
      }
    }
    throw databaseErrors.Busy({ retryAfterSeconds: 1 })
  }

  const again = <T>(thrown: unknown, sql: string, work: () => T, startedMs: number, limitMs = busyLimitMs, isWanted = always) => {
    if (isBusy(thrown)) return retry(sql, work, startedMs, limitMs, isWanted)
    throw translated(thrown)
  }

  // Every statement comes through here, and nearly none waits.
  if (!slow) {
    return (sql, work, limitMs, isWanted) => {
      try {
        return work()
      } catch (thrown) {
        return again(thrown, sql, work, performance.now(), limitMs, isWanted)
      }
    }
  }
  return (sql, work, limitMs, isWanted) => {
    const startedMs = performance.now()
    try {
      const result = work()
      const tookMs = performance.now() - startedMs
      if (tookMs >= slowMs) slow.warn(sql, tookMs)
      return result
    } catch (thrown) {
      return again(thrown, sql, work, startedMs, limitMs, isWanted)
    }
  }
}

const always = () => true
