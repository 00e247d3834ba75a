import { AsyncLocalStorage } from 'node:async_hooks'
import type { Database } from '@/core/database'
import { withDeadline } from '@/core/deadline'
import { defineErrors } from '@/core/error'

export const databaseErrors = defineErrors({
  Unreachable: ['Unavailable', 'The database cannot be reached.'],
  Busy: ['Unavailable', 'The database is busy.'],
  QueryTimeout: ['Timeout', 'The database did not answer in time.'],
  TxTimeout: ['Timeout', 'The transaction took too long and was undone.'],
})

const txTimeoutDefaultMs = 10_000

export interface Scope {
  /** The driver that the transaction belongs to. */
  owner: object
  open: boolean
  hooks: (() => Promise<void> | void)[]
}

const current = new AsyncLocalStorage<Scope>()

/**
 * Throws when the code that runs now is inside an open transaction of `owner`: it has been given a `tx` and uses the outer
 * database by mistake. On SQLite that call would wait for its own transaction, on MySQL it would escape it.
 */
export function refuseInsideTx(owner: object): void {
  const scope = current.getStore()
  if (scope?.open && scope.owner === owner) {
    throw new Error('the outer database was used inside a transaction; use the tx that db.tx hands to its callback')
  }
}

/** What a driver gives so that a transaction can be run on it. */
export interface TxSteps {
  begin(): Promise<void>
  commit(): Promise<void>
  /** Must not throw, since the error that led to it says more. */
  rollback(): Promise<void>
  /** The database bound to the transaction. Each of its calls asks `refuseIfOver` first. */
  bind(refuseIfOver: () => void, scope: Scope): Database
}

/** Begins, runs `work` with a deadline, and commits or rolls back. */
export async function runTx<T>(
  owner: object,
  steps: TxSteps,
  work: (tx: Database) => Promise<T>,
  timeoutMs = txTimeoutDefaultMs,
): Promise<T> {
  const scope: Scope = { owner, open: true, hooks: [] }
  const refuseIfOver = () => {
    if (!scope.open) throw new Error('this transaction is over; await every call made in it')
  }
  await steps.begin()
  try {
    const working = current.run(scope, () => work(steps.bind(refuseIfOver, scope)))
    const result = await withDeadline(working, timeoutMs, () => databaseErrors.TxTimeout())
    scope.open = false
    await steps.commit()
    for (const hook of scope.hooks) await hook()
    return result
  } catch (thrown) {
    scope.open = false
    await steps.rollback()
    throw thrown
  }
}
