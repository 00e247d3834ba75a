import { currentCaller } from '@/core/caller'
import type { Database, TxOptions } from '@/core/database'
import { idempotencyErrors, type Once } from '@/core/idempotency'
import type { OpenDatabase } from '../database/driver'
import { type Claim, noteEffect, release } from './rows'

/**
 * Makes what a request writes and its answer one commit. While a request has a claim, its last transaction that wrote something is
 * held open after the handler has gone on, until the answer is known, which is then written in it. Whatever else the request asks
 * of the database first commits what is held, with the mark that something was carried out; so the handler sees its own writes,
 * and only the last transaction of several has the answer with it. Each of them commits only while the claim is good.
 */
export interface Effect extends Once {
  /**
   * Ends it with its answer, or without one: then it may be tried again if nothing has been committed. Nothing is held after that.
   * @returns whether that could be noted; the effect stands if not
   * @throws whatever kept the last effect from being committed
   */
  finish(answer: string | undefined): Promise<boolean>
}

/** The outer database, as it is for callers without a claim. */
type Plain = Pick<OpenDatabase, 'all' | 'first' | 'run' | 'tx' | 'afterCommit'> & Pick<Database, 'runReturning'>

/** A handler that goes on with other things for so long shall not keep others from writing. */
const heldMaxMs = 500

interface Held {
  tx: Database
  /** Commits it. */
  end(answer: string | undefined): void
  /** Resolves when it is committed, and what is to be done after it is done. */
  over: Promise<unknown>
}

/** What the database does for a request with a claim. */
interface OpenEffect extends Effect {
  settle(): Promise<void>
  carryOut<T>(work: (tx: Database) => Promise<T>, options?: TxOptions): Promise<T>
  afterCommit: Database['afterCommit']
  /** False while what follows a commit uses the database, and when the answer has been stored. */
  readonly isAsked: boolean
}

export function openEffect(plain: Plain, claim: Claim): Effect {
  let held: Held | undefined
  let holdTimer: Timer | undefined
  let underWay = 0
  let isSettling = false
  let hasBegun = false
  let ended: 'kept' | 'released' | undefined
  let failure: { thrown: unknown } | undefined

  async function settle(answer?: string): Promise<void> {
    if (failure) throw failure.thrown
    const ending = held
    if (!ending) return
    held = undefined
    clearTimeout(holdTimer)
    isSettling = true
    try {
      ending.end(answer)
      await ending.over
    } catch (thrown) {
      // The handler has been told that it is done.
      failure = { thrown }
      throw thrown
    } finally {
      isSettling = false
    }
  }

  async function note(on: Pick<Database, 'run'>, answer: string | undefined): Promise<void> {
    if (ended === 'kept') return
    hasBegun = true
    if (!(await noteEffect(on, claim, answer))) throw idempotencyErrors.GivenUp({ retryAfterSeconds: 1 })
  }

  async function carryOut<T>(work: (tx: Database) => Promise<T>, options?: TxOptions): Promise<T> {
    if (ended === 'released') throw idempotencyErrors.GivenUp({ retryAfterSeconds: 1 })
    underWay++
    try {
      await settle()
    } catch (thrown) {
      underWay--
      throw thrown
    }
    const early = Promise.withResolvers<T>()
    let isGiven = false
    const over = plain
      .tx(async tx => {
        // What has been given to the handler cannot be taken back.
        if (isGiven) throw idempotencyErrors.GivenUp({ retryAfterSeconds: 1 })
        let writes = 0
        const result = await work(watched(tx, () => writes++))
        if (writes === 0) return result
        // Another of the same request may wait for this one.
        const mayHold = underWay === 1 && ended === undefined
        const ending = mayHold ? hold(tx, () => over) : undefined
        if (ending) {
          isGiven = true
          early.resolve(result)
        }
        await note(tx, await ending)
        return result
      }, options)
      .finally(() => underWay--)
    over.then(early.resolve, early.reject)
    return early.promise
  }

  function hold(tx: Database, over: () => Promise<unknown>): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    held = {
      tx,
      end: resolve,
      get over() {
        return over()
      },
    }
    holdTimer = setTimeout(() => settle().catch(() => {}), heldMaxMs)
    return promise
  }

  const effect: OpenEffect = {
    get isHolding() {
      return held !== undefined
    },
    get isAsked() {
      return !isSettling && ended !== 'kept'
    },
    settle,
    carryOut,
    afterCommit: (hook, unsure) => (held ? held.tx.afterCommit(hook, unsure) : plain.afterCommit(hook, unsure)),
    async beforeOutside() {
      if (ended === 'released') throw idempotencyErrors.GivenUp({ retryAfterSeconds: 1 })
      await settle()
      if (!hasBegun && ended === undefined) await note(plain, undefined)
    },
    async finish(answer) {
      const isHeld = held !== undefined
      if (answer === undefined) ended = 'released'
      try {
        await settle(answer)
      } catch (thrown) {
        ended = 'released'
        await release(plain, claim).catch(() => {})
        throw thrown
      }
      const noted = (noting: Promise<unknown>) => noting.then(isTrue, isFalse)
      if (answer === undefined) return hasBegun || noted(release(plain, claim))
      const isNoted = isHeld || (await noted(note(plain, answer)))
      ended = 'kept'
      return isNoted
    },
  }
  return effect
}

const isTrue = () => true
const isFalse = () => false

/** The same transaction, which tells when it is written in. */
function watched(tx: Database, onWrite: () => void): Database {
  const { run, runReturning, tx: savepoint } = tx
  return Object.assign(tx, {
    run: (...call: Parameters<typeof run>) => {
      onWrite()
      return run(...call)
    },
    ...(runReturning && {
      runReturning: (...call: Parameters<typeof runReturning>) => {
        onWrite()
        return runReturning(...call)
      },
    }),
    tx: <T>(work: (inner: Database) => Promise<T>, options?: TxOptions) => savepoint(inner => work(watched(inner, onWrite)), options),
  })
}

const known = new WeakMap<object, Plain>()

/** Makes the database know of effects, and returns how to begin one. It stays the same object, by which its transactions are told. */
export function holdEffects(db: OpenDatabase | Database): (claim: Claim) => Effect {
  const plain = known.get(db) ?? extend(db)
  known.set(db, plain)
  return claim => openEffect(plain, claim)
}

function extend(db: Database): Plain {
  const { all, first, run, runReturning, tx, afterCommit } = db
  const current = () => {
    const effect = currentCaller()?.once as OpenEffect | undefined
    return effect?.isAsked ? effect : undefined
  }
  Object.assign(db, {
    all: (...call: Parameters<typeof all>) => {
      const effect = current()
      return effect?.isHolding ? effect.settle().then(() => all(...call)) : all(...call)
    },
    first: (...call: Parameters<typeof first>) => {
      const effect = current()
      return effect?.isHolding ? effect.settle().then(() => first(...call)) : first(...call)
    },
    run: (...call: Parameters<typeof run>) => current()?.carryOut(inner => inner.run(...call)) ?? run(...call),
    ...(runReturning && {
      runReturning: (...call: Parameters<typeof runReturning>) =>
        current()?.carryOut(async inner => inner.runReturning?.(...call)) ?? runReturning(...call),
    }),
    tx: <T>(work: (inner: Database) => Promise<T>, options?: TxOptions) => current()?.carryOut(work, options) ?? tx(work, options),
    afterCommit: (...call: Parameters<typeof afterCommit>) => current()?.afterCommit(...call) ?? afterCommit(...call),
  } satisfies Partial<Database>)
  return { all, first, run, tx, afterCommit, ...(runReturning && { runReturning }) }
}
