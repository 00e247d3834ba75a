/** Hashes and checks passwords with argon2id (RFC 9106), a bounded number at a time, since each takes its own memory. */
export interface Passwords {
  /**
   * @returns a PHC string that carries its own salt and parameters
   * @throws Unavailable with a `Retry-After` when too many are waiting
   */
  hash(password: string): Promise<string>
  /**
   * @param hash undefined where there is no such account: that is false, and takes as long as a wrong password
   * @throws Unavailable with a `Retry-After` when too many are waiting
   */
  verify(password: string, hash: string | undefined): Promise<boolean>
  /** Whether a hash is weaker than those that are made now: it is to be made anew when the password is at hand. */
  isOutdated(hash: string): boolean
}
