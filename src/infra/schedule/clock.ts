import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'

/**
 * The time of ticks. That of the database server, so that processes whose clocks differ agree; on SQLite that of the machine. Between two
 * questions it goes on by a clock that is never set.
 */
export interface ScheduleClock extends Clock {
  /** Asks the server what time it is, unless that was asked within the last half second. Before the first answer it is the machine's. */
  sync(): Promise<void>
}

/** Asked again so long after the last answer. */
const freshMs = 500
/** A machine's own clock gains or loses so much of each millisecond, at most. */
const drift = 0.0005
const serverMs = `select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000 as "ms"`

/** @param nowMs on a clock that is never set */
export function createScheduleClock(db: Database, machine: Clock, nowMs: () => number = () => performance.now()): ScheduleClock {
  if (db.dialect.name === 'sqlite') return { nowMs: () => machine.nowMs(), sync: async () => {} }
  /** What is added to the clock that is never set, how far off that may be, and when it was learned. */
  let offset: number | undefined
  let errorMs = 0
  let atMs = Number.NEGATIVE_INFINITY
  return {
    nowMs: () => (offset === undefined ? machine.nowMs() : Math.floor(nowMs() + offset)),
    async sync() {
      const sentMs = nowMs()
      if (sentMs - atMs < freshMs) return
      const row = await db.first(serverMs, [], { from: 'primary' })
      const receivedMs = nowMs()
      // The server said so somewhere between; it counts whole milliseconds.
      const heard = Number(row?.['ms']) + 0.5 - (sentMs + receivedMs) / 2
      const heardErrorMs = (receivedMs - sentMs) / 2 + 0.5
      errorMs += (receivedMs - atMs) * drift
      atMs = receivedMs
      // An answer that was under way for long says less than what is known, unless that cannot be true any more.
      if (offset !== undefined && heardErrorMs > errorMs && Math.abs(heard - offset) <= heardErrorMs + errorMs) return
      offset = heard
      errorMs = heardErrorMs
    },
  }
}
