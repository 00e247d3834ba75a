import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError, defineErrors } from '@/core/error'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Guess, Throttle } from '@/core/throttle'
import { type Digests, digestsOf, keepMark, knownForMs, lockMarks, type Mark, type Of, readMarks, type RuleName, ruleNames } from './rows'
import { failed, rules, takenBack, waitMs } from './rules'

export const throttleErrors = defineErrors({
  TooManyGuesses: ['ResourceExhausted', 'Too many tries were wrong. Wait before the next.'],
})

export interface ThrottleTools {
  db: Database
  clock: Clock
  log: Log
  metrics: Metrics
  /** With a key: see `digestsOf`. */
  digest(text: string): string
}

/** What a guess was counted in, as it was kept. */
type Counted = Partial<Of<Mark>>

/** As others that guess at the same wait for the rows, a snapshot from before would be of no use. */
const isolation = { isolation: 'read committed' } as const

/** Counts guesses in the table "guess", where all processes see them; `rules` has the numbers. */
export function createThrottle({ db, clock, log, metrics, digest }: ThrottleTools): Throttle {
  const refused = metrics.counter({
    name: 'bingo_guess_refused_total',
    help: 'Guesses at passwords and codes that came too early, by what had failed too often.',
    labels: ['by'],
  })

  function refuseEarly({ purpose, address }: Guess, marks: Of<Mark>, nowMs: number): void {
    const waits = rulesFor(marks, nowMs).map(name => ({ name, ms: waitMs(marks[name], rules[name], nowMs) }))
    const [longest] = waits.filter(({ ms }) => ms > 0).toSorted((a, b) => b.ms - a.ms)
    if (!longest) return
    refused.with({ by: longest.name }).add()
    const retryAfterSeconds = Math.ceil(longest.ms / 1000)
    // Not of whom: what is guessed at may be a password that was typed into the wrong field.
    log.info('a guess came too early', { purpose, by: longest.name, address, retryAfterSeconds })
    throw throttleErrors.TooManyGuesses({ retryAfterSeconds })
  }

  /** As a failure, until it is known to be none. @throws TooManyGuesses */
  async function count(guess: Guess, digests: Digests): Promise<Counted> {
    // A flood of what is refused anyway takes no lock.
    refuseEarly(guess, await readMarks(db, digests, clock.nowMs()), clock.nowMs())
    return db.tx(async tx => {
      const nowMs = clock.nowMs()
      const marks = await lockMarks(tx, digests, nowMs)
      refuseEarly(guess, marks, nowMs)
      const counted: Counted = {}
      for (const name of rulesFor(marks, nowMs)) {
        const mark = { ...marks[name], ...failed(marks[name], rules[name], nowMs) }
        await keepMark(tx, digests, name, mark)
        counted[name] = mark
      }
      return counted
    }, isolation)
  }

  const takeBack = (digests: Digests, counted: Counted, isLetIn: boolean): Promise<void> =>
    db.tx(async tx => {
      const nowMs = clock.nowMs()
      const marks = await lockMarks(tx, digests, nowMs)
      for (const name of ruleNames) {
        const before = counted[name]
        if (!before) continue
        // Whoever knows the password has not been guessing.
        const isOver = isLetIn && name === 'pair'
        const mark = isOver ? letIn(nowMs) : { ...marks[name], ...takenBack(marks[name], before) }
        await keepMark(tx, digests, name, mark)
      }
    }, isolation)

  return {
    async admit(guess) {
      const digests = digestsOf(guess, digest)
      try {
        await db.tx(async tx => {
          const nowMs = clock.nowMs()
          await lockMarks(tx, digests, nowMs)
          await keepMark(tx, digests, 'pair', letIn(nowMs))
        }, isolation)
      } catch (err) {
        log.warn('whom the throttle should let in could not be noted', { purpose: guess.purpose, address: guess.address, err })
      }
    },
    async guess(guess, check) {
      const digests = digestsOf(guess, digest)
      const counted = await count(guess, digests)
      const found = await check().catch(async thrown => {
        if (isUnchecked(thrown))
          await takeBack(digests, counted, false).catch(err => log.warn('a guess that was not checked stays counted', { err }))
        throw thrown
      })
      if (found !== undefined) await takeBack(digests, counted, true)
      return found
    },
  }
}

const letIn = (nowMs: number): Mark => ({ failures: 0, sinceMs: nowMs, nextAtMs: 0, letInAtMs: nowMs })

/**
 * What others do, to an account or from an address, does not keep those out who have been let in to that account from there; what they
 * guess themselves is guessed at their own account, which is counted.
 */
const rulesFor = ({ pair }: Of<Mark>, nowMs: number): readonly RuleName[] => (nowMs - pair.letInAtMs < knownForMs ? ['pair'] : ruleNames)

/** An answer that is a refusal says as much as none. */
const isUnchecked = (thrown: unknown): boolean =>
  !(thrown instanceof AppError) || ['Unavailable', 'Timeout', 'Internal'].includes(thrown.kind)
