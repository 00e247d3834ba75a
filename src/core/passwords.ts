/** Hashes and checks passwords with argon2id (RFC 9106), a bounded number at a time, since each takes its own memory. */
export interface Passwords {
  /**
   * @returns a PHC string that carries its own salt and parameters
   * @throws Unavailable with a `Retry-After` when too many are waiting
   */
  hash(password: string): Promise<string>
  /** @throws Unavailable with a `Retry-After` when too many are waiting */
  verify(password: string, hash: string): Promise<boolean>
}
