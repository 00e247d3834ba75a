import { AsyncLocalStorage } from 'node:async_hooks'
import type { Hook } from '@/core/database'
import { databaseErrors } from './errors'
import { createLine, type Line } from './line'

/** A transaction, or a savepoint in one, and who may use it now. */
export interface Scope {
  /** The database that the transaction belongs to. */
  owner: object
  /** What a savepoint is in. */
  parent: Scope | undefined
  /** What ran when it began; a transaction of another database perhaps. */
  around: Scope | undefined
  open: boolean
  /** Tells the savepoint that is in it now that it is over. */
  onClose: (() => void) | undefined
  hooks: Hooks[]
  /** One statement, or one savepoint, at a time: after a deadlock none may follow, and a savepoint's undoing undoes all since. */
  line: Line
  /** Shared by the savepoints of a transaction. */
  fate: Fate
}

/** What is to be done when the transaction is committed, and what when nobody knows whether it is. */
export interface Hooks {
  committed: Hook
  unsure: Hook | undefined
}

/** Set once a statement has failed so that the transaction is gone on the database's side, whatever `work` makes of the error. */
export interface Fate {
  doomed: Doom | undefined
}
export interface Doom {
  by: unknown
  /** Whether running the whole again may help. */
  again: boolean
}

const callsWaitingMax = 10_000

const current = new AsyncLocalStorage<Scope>()

export const newScope = (owner: object, parent?: Scope): Scope => ({
  owner,
  parent,
  around: parent ?? current.getStore(),
  open: true,
  onClose: undefined,
  hooks: [],
  line: createLine({ places: 1, waitingMax: callsWaitingMax, full: () => databaseErrors.Busy({ retryAfterSeconds: 1 }) }),
  fate: parent?.fate ?? { doomed: undefined },
})

/** Runs `work` so that whatever it calls is known to be inside `scope`. */
export const runIn = <T>(scope: Scope, work: () => Promise<T>): Promise<T> => current.run(scope, async () => work())

export function close(scope: Scope): void {
  scope.open = false
  scope.onClose?.()
}

/** Whose each tx is. */
const owners = new WeakMap<object, object>()
export const ownTx = <T extends object>(tx: T, owner: object): T => {
  owners.set(tx, owner)
  return tx
}
/** Whether `tx` is a transaction, or a savepoint, of this database, and not of another. */
export const isTxOf = (tx: object, owner: object): boolean => owners.get(tx) === owner

const isOpen = (scope: Scope): boolean => scope.open && (!scope.parent || isOpen(scope.parent))

/**
 * Throws when the code that runs now is inside an open transaction of `owner`: it has been given a `tx` and uses the outer
 * database by mistake. On SQLite that call would wait for its own transaction, on MySQL it would escape it.
 */
export function refuseInsideTx(owner: object, remedy = 'use the tx that db.tx hands to its callback'): void {
  for (let scope = current.getStore(); scope; scope = scope.around) {
    if (scope.owner === owner && isOpen(scope)) {
      throw new Error(`the outer database was used inside a transaction; ${remedy}`)
    }
  }
}

export const overError = () => new Error('this transaction is over; await every call made in it')

/** Throws when `scope` cannot be used, or not by the code that runs now. */
export function refuseMisuse(scope: Scope): void {
  if (!isOpen(scope)) throw overError()
  for (let inner = current.getStore(); inner && inner !== scope; inner = inner.around) {
    if (isWithin(inner, scope) && isOpen(inner)) {
      throw new Error('the tx around a savepoint was used inside it; use the tx that tx.tx hands to its callback')
    }
  }
  if (scope.fate.doomed) throw scope.fate.doomed.by
}

const isWithin = (inner: Scope, outer: Scope): boolean =>
  inner.parent !== undefined && (inner.parent === outer || isWithin(inner.parent, outer))

/**
 * Waits until it is this caller's turn in `scope`. Whoever entered leaves: `scope.line.leave()`.
 * @returns undefined when it is at once
 */
export function enter(scope: Scope): Promise<void> | undefined {
  refuseMisuse(scope)
  return scope.line.enter()?.then(() => {
    try {
      // What it waited for may have been the end.
      refuseMisuse(scope)
    } catch (thrown) {
      scope.line.leave()
      throw thrown
    }
  })
}
