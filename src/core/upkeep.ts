import { monthMs } from './clock'

/**
 * Removes what the house leaves behind in tables that belong to no module. Each call removes up to `countMax`, 1–1000, and says how many: as long as
 * they are as many there may be more. Every call may be repeated, and several processes may make it at a time.
 */
export interface Upkeep {
  /**
   * Tasks that transactions have left in the outbox, that nobody could hand over, and of which no operator has decided anything for 30 days. Where
   * there is no outbox there are none.
   */
  removeGivenUp(countMax: number): Promise<number>
  /** Schedules in code that no version of it has declared for 30 days. Declared again later, such a one is new. */
  removeUndeclared(countMax: number): Promise<number>
  /** The history of schedules that nobody fires: of those that are gone all of it, else what is beyond the last 100 ticks. */
  cutHistory(countMax: number): Promise<number>
  /** Answers to requests with an `Idempotency-Key` whose time is over. */
  removeAnswers(countMax: number): Promise<number>
  /** What is remembered of guesses at passwords and codes, when it slows nobody down any more. */
  forgetGuesses(countMax: number): Promise<number>
}

/** So long an operator may take to decide. */
export const givenUpKeptMs = monthMs
/** So long a version of the code may be rolled back. */
export const undeclaredKeptMs = monthMs
