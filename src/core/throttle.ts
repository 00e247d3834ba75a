/** What users guess at when they log in, by username or e-mail address. */
export const userLogIn = 'log-in'
/** The same of administrators, by username. */
export const adminLogIn = 'admin log-in'

/** One guess: at a password, a code, a key. */
export interface Guess {
  /** What is guessed at, such as `log-in`. Each has its own counts. */
  purpose: string
  /** Whose it would be, as the caller spelled it, known or not: `ada@example.com`. Case and spaces around it do not matter. It is kept as a digest. */
  account: string
  /** Where it comes from; guesses of one /64 of IPv6 are from one address, and those of one /48 are counted together, too. */
  address: string
}

/**
 * Slows guessing down, over all processes and on both backings: it is kept in the database. Delays grow with each failure, of the
 * account at that address, of the address and of its /48 of IPv6 over all accounts, and of the account over all addresses. All but the
 * first spare whoever has been let in to that account from that address before.
 *
 * What it cannot do: tell an owner at a new address from an attacker. While somebody guesses at an account from many addresses without
 * end, its owner has to compete for one guess a minute there, unless it was proven by other means than a guess who it is: see `admit`.
 */
export interface Throttle {
  /**
   * Counts the guess as a failure before it is checked, so that many at once cannot pass, and takes it back when it was right.
   * @param check whether the guess is right. When it cannot tell, which it says by throwing Unavailable, Timeout or what is no error of ours,
   * the guess is not counted; thrown otherwise it is a failure, as undefined is
   * @returns what `check` does, undefined for a wrong guess
   * @throws ResourceExhausted with `Retry-After` while it is too early; the same for accounts that do not exist
   */
  guess<T>(guess: Guess, check: () => Promise<T | undefined>): Promise<T | undefined>
  /**
   * From now on whoever guesses at the account from that address is somebody who has been let in: for those who have proven by something
   * that cannot be guessed that it is theirs, such as a code that was sent to them. What they failed at before is forgotten.
   * It never fails: they have got what they came for, and are slowed down like anybody else when it could not be noted, which is logged.
   */
  admit(guess: Guess): Promise<void>
}
