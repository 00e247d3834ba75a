import commonPasswords from './common-passwords.txt' with { type: 'text' }

/**
 * The 3,000 most common passwords of at least eight characters, in lower case, most common first (OWASP ASVS 5.0, 6.2.4). From
 * the frequency list of zxcvbn, MIT license, (c) 2012–2016 Dan Wheeler and Dropbox, Inc.
 */
let common: ReadonlySet<string> | undefined

/** Why a password is too easy to guess for this account, or undefined when it is not. */
export function weakness(password: string, account: { username: string; email: string }): string | undefined {
  common ??= new Set(commonPasswords.split('\n'))
  const lower = password.toLowerCase()
  if (common.has(lower)) return 'is one of the 3,000 most common passwords'
  // Context words (OWASP ASVS 5.0, 6.2.11): the first things that somebody who knows the account tries.
  const [localPart = ''] = account.email.split('@')
  if ([account.username, account.email, localPart].includes(lower)) return 'is the username or the e-mail address'
  return undefined
}
