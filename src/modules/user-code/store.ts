import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { userCodes } from './schema'

export interface UserCodeStore extends Store<typeof userCodes> {
  /**
   * Counts one more guess, of however many at the same time.
   * @returns false when there is no such code, or there were `attemptsMax` already
   */
  countAttempt(handle: string, attemptsMax: number): Promise<boolean>
  /** For a guess that was right. */
  takeAttemptBack(handle: string): Promise<void>
}

export const userCodeStore = (db: Database): UserCodeStore => ({
  ...createStore(db, userCodes),
  async countAttempt(handle, attemptsMax) {
    const counted = 'update "userCode" set "attempts" = "attempts" + 1 where "handle" = ? and "attempts" < ?'
    return (await db.run(counted, [handle, attemptsMax])).changes === 1
  },
  async takeAttemptBack(handle) {
    await db.run('update "userCode" set "attempts" = "attempts" - 1 where "handle" = ? and "attempts" > 0', [handle])
  },
})
