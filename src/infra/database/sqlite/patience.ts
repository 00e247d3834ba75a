import { databaseErrors } from '../errors'
import { isBusy, translated } from './errors'
import { eventLoopTurns } from './event-loop'

/**
 * SQLite waits for another process's lock inside the call, which holds up the event loop. So it may wait for `busyBlockMs` only;
 * after that the call is repeated from a timer, with jitter.
 */
export const busyBlockMs = 5
const busyPauseMs = { min: 2, max: 25 }

/**
 * Runs `work`, in the next turn of the event loop when this one is old, and again and again while another process holds the lock.
 * @param sql for the log
 * @param limitMs for the repetitions; the database's own limit when absent
 * @param isWanted asked after each wait; it ends with Busy when not
 */
export type Patience = <T>(sql: string, work: () => T, limitMs?: number, isWanted?: () => boolean) => T | Promise<T>

/** @param slow what says that a statement took long, and from when on; statements are not timed without */
export function createPatience(busyLimitMs: number, slow?: { limitMs: number; warn: (sql: string, durationMs: number) => void }): Patience {
  const turns = eventLoopTurns()
  const warnWhenSlow = (sql: string, startedMs: number) => {
    const tookMs = performance.now() - startedMs
    if (slow && tookMs >= slow.limitMs) slow.warn(sql, tookMs)
  }

  async function retry<T>(sql: string, work: () => T, startedMs: number, limitMs: number, isWanted: () => boolean): Promise<T> {
    while (performance.now() < startedMs + limitMs) {
      await Bun.sleep(busyPauseMs.min + Math.random() * (busyPauseMs.max - busyPauseMs.min))
      if (!isWanted()) break
      try {
        const result = work()
        warnWhenSlow(sql, startedMs)
        return result
      } catch (thrown) {
        if (!isBusy(thrown)) throw translated(thrown)
      }
    }
    throw busyError()
  }

  const again = <T>(thrown: unknown, sql: string, work: () => T, startedMs: number, limitMs = busyLimitMs, isWanted = always) => {
    if (isBusy(thrown)) return retry(sql, work, startedMs, limitMs, isWanted)
    throw translated(thrown)
  }

  function ask<T>(startedMs: number, sql: string, work: () => T, limitMs?: number, isWanted?: () => boolean): T | Promise<T> {
    try {
      const result = work()
      if (slow) warnWhenSlow(sql, startedMs)
      return result
    } catch (thrown) {
      return again(thrown, sql, work, startedMs, limitMs, isWanted)
    }
  }

  async function askIn<T>(turn: Promise<void>, sql: string, work: () => T, limitMs?: number, isWanted = always): Promise<T> {
    await turn
    if (!isWanted()) throw busyError()
    return ask(performance.now(), sql, work, limitMs, isWanted)
  }

  // Every statement comes through here, and nearly none waits: the clock is read once for all.
  return (sql, work, limitMs, isWanted) => {
    const startedMs = performance.now()
    const turn = turns(startedMs)
    return turn ? askIn(turn, sql, work, limitMs, isWanted) : ask(startedMs, sql, work, limitMs, isWanted)
  }
}

const always = () => true
const busyError = () => databaseErrors.Busy({ retryAfterSeconds: 1 })
