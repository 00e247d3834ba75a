import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import { defineErrors } from '@/core/error'
import type { Subject } from '@/core/identity'
import type { Log } from '@/core/log'
import { type Revocations, revocationMaxMs } from '@/core/revocations'
import type { Service } from '@/core/service'

/**
 * How processes learn what has changed of whom they remember something. One row counts the changes, and each change notes its
 * subjects under its number. Whoever counts holds the row until it commits: so a number that can be read has all before it.
 */
export interface Epoch extends Service {
  readonly revocations: Revocations
  /** Whether all that was committed `revocationMaxMs` ago, or before, is known here. */
  isFresh(): boolean
  /** Learns what has been committed until now. Callers at the same time share one question. @throws Unavailable when it cannot be known */
  refresh(): Promise<void>
}

/** What remembers, and is told what to forget. */
export interface Rememberer {
  forget(subjects: readonly Subject[]): void
  forgetAll(): void
}

export const revocationErrors = defineErrors({
  Unknown: ['Unavailable', 'Whether your access is still valid cannot be told at the moment; try again soon.'],
})

const pollMs = 500
/** Changes are noted for so long: a process that has not asked since forgets all. */
export const keptMs = 3_600_000
const sweepEveryMs = 600_000
const sweptMax = 1000
/** Of one look: who is behind by more forgets all, which costs less. */
const subjectsMax = 10_000

export interface EpochTools {
  clock: Clock
  log: Log
  /** A clock that is never set. */
  nowMs?: () => number
}

export function createEpoch(db: Database, rememberer: Rememberer, { clock, log, nowMs = () => performance.now() }: EpochTools): Epoch {
  let known: number | undefined
  /** When the question was sent whose answer is the newest, on a clock that is never set. */
  let askedAtMs = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined
  let timer: Timer | undefined
  let isRunning = false
  let isFailing = false
  let sweptAtMs = nowMs()
  let sweeping: Promise<void> | undefined

  async function look(): Promise<void> {
    const sentMs = nowMs()
    const row = await db.first('select "value" from "revocationEpoch" where "id" = 1', [], { from: 'primary' })
    const value = Number(row?.['value'])
    if (!Number.isInteger(value)) throw new Error('the table revocationEpoch has no row')
    // Before the first look somebody may be remembered, or asked for, as they were before the newest change.
    if (known === undefined) rememberer.forgetAll()
    else if (value !== known) await learn(known, value)
    known = value
    askedAtMs = sentMs
  }

  async function learn(from: number, to: number): Promise<void> {
    const rows = await db.all(
      `select "epoch", "subject" from "revocation" where "epoch" > ? and "epoch" <= ? order by "epoch" limit ${subjectsMax + 1}`,
      [from, to],
      { from: 'primary' },
    )
    // Also when the count went back, as with a backup that was played in.
    const isWhole = rows.length <= subjectsMax && new Set(rows.map(row => Number(row['epoch']))).size === to - from
    if (isWhole) rememberer.forget(rows.map(row => row['subject'] as Subject))
    else rememberer.forgetAll()
  }

  function refresh(): Promise<void> {
    asking ??= look()
      .then(
        () => {
          if (isFailing) log.info('what is revoked elsewhere is known again')
          isFailing = false
        },
        cause => {
          if (!isFailing) log.warn('what is revoked elsewhere cannot be read', { err: cause })
          isFailing = true
          throw revocationErrors.Unknown({ cause, retryAfterSeconds: 1 })
        },
      )
      .finally(() => {
        asking = undefined
      })
    return asking
  }

  async function poll(): Promise<void> {
    // Whoever asks and is not answered says so by itself.
    await refresh().catch(() => {})
    sweep()
    if (isRunning) timer = setTimeout(poll, pollMs)
  }

  /** Nobody waits for it: however much there is to remove, what is new is learned in time. */
  function sweep(): void {
    if (sweeping || nowMs() - sweptAtMs < sweepEveryMs) return
    sweptAtMs = nowMs()
    sweeping = removeOld(db, clock, () => isRunning)
      .catch(err => log.warn('old revocations could not be removed', { err }))
      .finally(() => {
        sweeping = undefined
      })
  }

  return {
    name: 'revocations',
    isFresh: () => nowMs() - askedAtMs <= revocationMaxMs,
    refresh,
    revocations: {
      async forget(tx, subjects) {
        if (!tx.inTransaction) throw new Error('revocations are noted in the transaction of the change; use its tx')
        if (subjects.length === 0) return
        await note(tx, [...new Set(subjects)], clock.nowMs())
        const forget = () => rememberer.forget(subjects)
        await tx.afterCommit(forget, forget)
      },
    },
    async start() {
      isRunning = true
      // A database that is not there yet does not keep a server from starting.
      await refresh().catch(() => {})
      timer = setTimeout(poll, pollMs)
    },
    async stop() {
      isRunning = false
      clearTimeout(timer)
      await asking?.catch(() => {})
      await sweeping
    },
  }
}

async function note(tx: Database, subjects: readonly Subject[], nowMs: number): Promise<void> {
  // Its lock orders the transactions by their commits.
  await tx.run('update "revocationEpoch" set "value" = "value" + 1 where "id" = 1')
  const rows = subjects.map(() => `((select "value" from "revocationEpoch" where "id" = 1), ?, ?)`).join(', ')
  await tx.run(
    `insert into "revocation" ("epoch", "subject", "atMs") values ${rows}`,
    subjects.flatMap(subject => [subject, nowMs]),
  )
}

/**
 * All of them, since more may be written than one batch for each process and sweep. Several processes may do it at once.
 * @param goesOn asked after each batch
 */
export async function removeOld(db: Database, clock: Clock, goesOn: () => boolean = () => true): Promise<void> {
  const oldest = `select "epoch" from "revocation" where "atMs" < ? order by "atMs" limit ${sweptMax}`
  do {
    // A replica may still have what was removed.
    const old = await db.all(oldest, [clock.nowMs() - keptMs], { from: 'primary' })
    const epochs = [...new Set(old.map(row => Number(row['epoch'])))]
    if (epochs.length > 0) await db.run(`delete from "revocation" where "epoch" in (${epochs.map(() => '?').join(', ')})`, epochs)
    if (old.length < sweptMax) return
  } while (goesOn())
}
