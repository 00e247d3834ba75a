import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { Upkeep } from '@/core/upkeep'
import { removeExpired } from './idempotency/rows'
import { sweepOutbox } from './queue/outbox/sweep'
import { createScheduleClock } from './schedule/clock'
import { sweepTicks, sweepUndeclared } from './schedule/sweep'
import { sweepGuesses } from './throttle/rows'

/** Who keeps a table knows what in it is of no use any more: here is what they offer. */
export function createUpkeep(db: Database, { log, clock }: { log: Log; clock: Clock }): Upkeep {
  const scheduleClock = createScheduleClock(db, clock)
  return {
    async removeGivenUp(countMax) {
      const ids = await sweepOutbox(db, countMax)
      // All of them, since nothing else is left that would tell.
      if (ids.length > 0) log.warn('tasks of the outbox that were given up are removed, since nobody has decided about them', { ids })
      return ids.length
    },
    async removeUndeclared(countMax) {
      await scheduleClock.sync()
      const names = await sweepUndeclared(db, scheduleClock.nowMs(), countMax)
      if (names.length > 0) log.info('schedules are removed that no version of the code declares any more', { names })
      return names.length
    },
    cutHistory: countMax => sweepTicks(db, countMax),
    removeAnswers: countMax => removeExpired(db, countMax),
    forgetGuesses: countMax => sweepGuesses(db, clock.nowMs(), countMax),
  }
}
