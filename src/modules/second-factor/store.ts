import { toTimestamp } from '@/core/clock'
import { rowCodec } from '@/core/column'
import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { recoveryCodes, type SecondFactorTable, secondFactors } from './schema'

export interface SecondFactorStore extends Store<SecondFactorTable> {
  /** Counts one more wrong code, of however many at the same time. @returns false when there were `failuresMax` already */
  countFailure(id: string, failuresMax: number): Promise<boolean>
  /** Uses a step up, and all before it; what was wrong before is forgotten. @returns false when it was used */
  useStep(id: string, step: number): Promise<boolean>
  /** The first code was right. @returns false when it has been confirmed, or another has taken its place */
  confirm(id: string, step: number): Promise<boolean>
  forgetFailures(administratorId: string): Promise<void>
}

export function secondFactorStore(db: Database): SecondFactorStore {
  const codec = rowCodec(secondFactors.columns, db.dialect)
  const now = () => codec.encode('updatedAt', toTimestamp(db.clock.nowMs()))
  const changed = async (set: string, where: string, params: Parameters<Database['run']>[1]) =>
    (await db.run(`update "secondFactor" set ${set}, "version" = "version" + 1 where ${where}`, params)).changes === 1
  return {
    ...createStore(db, secondFactors),
    countFailure: (id, failuresMax) => changed('"failures" = "failures" + 1', '"id" = ? and "failures" < ?', [id, failuresMax]),
    useStep: (id, step) =>
      changed('"lastStep" = ?, "failures" = 0, "updatedAt" = ?', '"id" = ? and "lastStep" < ?', [step, now(), id, step]),
    confirm: (id, step) =>
      changed('"lastStep" = ?, "confirmedAt" = ?, "updatedAt" = ?', '"id" = ? and "confirmedAt" is null', [step, now(), now(), id]),
    async forgetFailures(administratorId) {
      await changed('"failures" = 0', '"administratorId" = ?', [administratorId])
    },
  }
}

/** CRUD says it all. */
export const recoveryCodeStore = (db: Database): Store<typeof recoveryCodes> => createStore(db, recoveryCodes)
