import type { Database, Isolation, TxOptions } from '@/core/database'
import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import { databaseErrors } from './errors'
import { runHooks } from './hooks'
import type { Meters } from './meters'
import { retriesDefault, retryPauseMs } from './retry'
import { close, enter, newScope, overError, ownTx, refuseInsideTx, refuseMisuse, runIn, type Scope } from './scope'
import { callerOf, watchHold } from './warnings'

const txTimeoutDefaultMs = 10_000

/** What differs between databases: one connection, held for one transaction and its repetitions. */
export interface TxSession extends Pick<Database, 'all' | 'first' | 'run' | 'runReturning'> {
  /** @param limitMs what is left of the time for all */
  begin(isolation: Isolation | undefined, limitMs: number): Promise<void>
  commit(): Promise<void>
  /** Must not throw, since the error that led to it says more. */
  rollback(): Promise<void>
  /** One of the words around savepoints. */
  say(sql: string): Promise<unknown>
  /** Whether an error of a statement means that the transaction is gone: `again` when it may be tried again, `over` when not. */
  verdict(thrown: unknown): 'again' | 'over' | undefined
  release(): void
}

export interface TxDriver extends Pick<Database, 'dialect' | 'clock' | 'seal' | 'cache'> {
  /** Waits for a connection. @param limitMs what is left of the time for all */
  acquire(limitMs: number): Promise<TxSession>
  log: Log
  meters: Meters
  limits: { leakWarnMs: number; traceCallers: boolean }
}

/** What the database that hands transactions out does of them, on every driver. */
export const outside = (owner: () => Database, driver: TxDriver): Pick<Database, 'refuseInsideTx' | 'afterCommit' | 'tx'> => ({
  refuseInsideTx: remedy => refuseInsideTx(owner(), remedy),
  async afterCommit(hook) {
    refuseInsideTx(owner())
    await runHooks([hook], driver.log)
  },
  async tx(work, options) {
    refuseInsideTx(owner())
    return runTx(owner(), driver, work, options)
  },
})

/**
 * Runs `work` in a transaction, again when it lost against others at the same time, and its hooks when it is committed.
 * @param owner the database that was asked, which `work` must not use
 */
async function runTx<T>(
  owner: object,
  driver: TxDriver,
  work: (tx: Database) => Promise<T>,
  { isolation, timeoutMs = txTimeoutDefaultMs, retries = retriesDefault }: TxOptions = {},
): Promise<T> {
  const endsAtMs = performance.now() + timeoutMs
  const leftMs = () => Math.max(0, endsAtMs - performance.now())
  const caller = callerOf(driver.limits)
  const session = await driver.acquire(timeoutMs)
  const endWatch = watchHold(driver.limits, caller, driver.log, driver.meters)
  let done: Ended<T>
  try {
    for (let retry = 0; ; retry++) {
      const outcome = await attempt(owner, { driver, session }, work, isolation, leftMs)
      if (!('lost' in outcome)) {
        done = outcome
        break
      }
      const pauseMs = retryPauseMs(retry)
      if (retry >= retries || pauseMs > leftMs()) throw outcome.lost
      driver.meters.txRetries.add()
      await Bun.sleep(pauseMs)
    }
  } finally {
    endWatch()
    session.release()
  }
  // The connection is given back before: hooks use the outer database, whose last connection this may be.
  if ('unsure' in done) {
    await runHooks(
      done.hooks.flatMap(({ unsure }) => unsure ?? []),
      driver.log,
    )
    throw done.unsure
  }
  await runHooks(
    done.hooks.map(({ committed }) => committed),
    driver.log,
  )
  return done.result
}

interface Kit {
  driver: TxDriver
  session: TxSession
}
/** Committed with a result, or nobody knows: the commit was sent and no answer came. */
type Ended<T> = ({ result: T } | { unsure: unknown }) & { hooks: Scope['hooks'] }

/** @returns what made it lose against others, when it did; then nothing of it was kept */
async function attempt<T>(
  owner: object,
  kit: Kit,
  work: (tx: Database) => Promise<T>,
  isolation: Isolation | undefined,
  leftMs: () => number,
): Promise<Ended<T> | { lost: unknown }> {
  const { session } = kit
  await session.begin(isolation, leftMs())
  const scope = newScope(owner)
  let isLate = false
  let isCommitting = false
  const late = () => {
    isLate = true
    return databaseErrors.TxTimeout()
  }
  try {
    const working = runIn(scope, () => work(handleOn(kit, scope)))
    const result = await withDeadline(working, leftMs(), late)
    close(scope)
    // What was not awaited and is under way comes to its end.
    const idle = scope.line.idle()
    if (idle) await withDeadline(idle, leftMs(), late)
    if (scope.fate.doomed) throw scope.fate.doomed.by
    isCommitting = true
    await session.commit()
    return { result, hooks: scope.hooks }
  } catch (thrown) {
    close(scope)
    if (isCommitting) doomBy(kit, scope, thrown)
    await session.rollback()
    const { doomed } = scope.fate
    if (doomed?.again && !isLate) return { lost: doomed.by }
    if (isCommitting) return { unsure: thrown, hooks: scope.hooks }
    throw thrown
  }
}

/** The database bound to a transaction or savepoint. */
function handleOn(kit: Kit, scope: Scope): Database {
  const { dialect, clock, seal, cache } = kit.driver
  const { session } = kit
  const { runReturning } = session
  const tx: Database = {
    dialect,
    clock,
    seal,
    cache,
    inTransaction: true,
    all: (sql, params) => inTurn(kit, scope, () => session.all(sql, params)),
    first: (sql, params) => inTurn(kit, scope, () => session.first(sql, params)),
    run: (sql, params) => inTurn(kit, scope, () => session.run(sql, params)),
    ...(runReturning && { runReturning: (sql, params) => inTurn(kit, scope, () => runReturning(sql, params)) }),
    tx: (work, options) => runSavepoint(kit, scope, work, options),
    refuseInsideTx: () => refuseMisuse(scope),
    async afterCommit(committed, unsure) {
      refuseMisuse(scope)
      addHooks(scope, [{ committed, unsure }])
    },
  }
  return ownTx(tx, scope.owner)
}

async function inTurn<T>(kit: Kit, scope: Scope, ask: () => Promise<T>): Promise<T> {
  const turn = enter(scope)
  if (turn) await turn
  try {
    return await ask()
  } catch (thrown) {
    doomBy(kit, scope, thrown)
    throw thrown
  } finally {
    scope.line.leave()
  }
}

function doomBy({ session }: Kit, { fate }: Scope, thrown: unknown): void {
  const verdict = session.verdict(thrown)
  if (verdict) fate.doomed ??= { by: thrown, again: verdict === 'again' }
}

const hooksMax = 100_000

function addHooks(scope: Scope, hooks: Scope['hooks']): void {
  if (scope.hooks.length + hooks.length > hooksMax) throw new Error(`a transaction takes ${hooksMax} afterCommit hooks at most`)
  for (const hook of hooks) scope.hooks.push(hook)
}

/** A transaction in a transaction. It has its parent's turn until it is over, undoing included. */
async function runSavepoint<T>(kit: Kit, parent: Scope, work: (tx: Database) => Promise<T>, options: TxOptions = {}): Promise<T> {
  const { isolation, retries, timeoutMs } = options
  if (isolation !== undefined) throw new Error('isolation is of a whole transaction, and a savepoint is inside one; give it to db.tx')
  if (retries !== undefined) throw new Error('a savepoint does not run again alone, since a deadlock undoes all; give retries to db.tx')
  await enter(parent)
  const scope = newScope(parent.owner, parent)
  const name = `s${depthOf(scope)}`
  try {
    await kit.session.say(`savepoint ${name}`)
  } catch (thrown) {
    doomBy(kit, scope, thrown)
    parent.line.leave()
    throw thrown
  }
  const parentOver = Promise.withResolvers<never>()
  parent.onClose = () => parentOver.reject(overError())
  try {
    refuseMisuse(parent)
    const working = Promise.race([runIn(scope, () => work(handleOn(kit, scope))), parentOver.promise])
    const result = await (timeoutMs === undefined ? working : withDeadline(working, timeoutMs, () => databaseErrors.TxTimeout()))
    close(scope)
    await scope.line.idle()
    if (scope.fate.doomed) throw scope.fate.doomed.by
    await kit.session.say(`release savepoint ${name}`)
    addHooks(parent, scope.hooks)
    parent.onClose = undefined
    parent.line.leave()
    return result
  } catch (thrown) {
    close(scope)
    // Not awaited: a statement that is under way keeps the undoing waiting, but not whoever is to learn of the error.
    void undo(kit, scope, name).finally(() => {
      parent.onClose = undefined
      parent.line.leave()
    })
    throw thrown
  }
}

async function undo(kit: Kit, scope: Scope, name: string): Promise<void> {
  await scope.line.idle()
  if (scope.fate.doomed) return
  try {
    await kit.session.say(`rollback to savepoint ${name}`)
    await kit.session.say(`release savepoint ${name}`)
    kit.driver.meters.savepointsUndone.add()
  } catch (thrown) {
    doomBy(kit, scope, thrown)
    // What was to be undone is still there, so it must not be committed.
    scope.fate.doomed ??= { by: thrown, again: false }
  }
}

const depthOf = (scope: Scope): number => (scope.parent ? 1 + depthOf(scope.parent) : 0)
