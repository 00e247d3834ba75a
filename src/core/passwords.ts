import { AppError } from './error'

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

/** An account whose password has just been found right. */
interface Known {
  id: string
  version: number
  passwordHash: string
}

/** Where its hash is kept. */
interface Kept {
  update(id: string, patch: { passwordHash: string }, expected: { versions: number[] }): Promise<unknown>
}

/**
 * Makes an outdated hash anew, now that the password is at hand. The next time will do as well, so nothing fails for it, and a newer
 * password stays.
 */
export async function renewHash(
  passwords: Passwords,
  accounts: Kept,
  { id, version, passwordHash }: Known,
  password: string,
): Promise<void> {
  if (!passwords.isOutdated(passwordHash)) return
  try {
    await accounts.update(id, { passwordHash: await passwords.hash(password) }, { versions: [version] })
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
  }
}
