import type { Database } from './database'
import type { Subject } from './identity'

/** Changes of accounts, sessions and keys take effect in every process within so long, also without Redis; milliseconds. */
export const revocationMaxMs = 2000

/** Tells all processes that something has changed of whom they know. */
export interface Revocations {
  /**
   * Forgets what is remembered of these subjects: in this process with the commit, in the others within `revocationMaxMs`. Said in
   * the transaction of the change, as its last statement, since transactions that say it wait for each other.
   * @param tx of the change
   */
  forget(tx: Database, subjects: readonly Subject[]): Promise<void>
}
