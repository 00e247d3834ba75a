import commonPasswords from './common-passwords.txt' with { type: 'text' }
import { defineErrors } from './error'

const ruleErrors = defineErrors({
  PasswordWeak: ['Unprocessable', 'This password is too easy to guess.'],
})

/**
 * The 3,000 most common passwords of at least eight characters, in lower case, most common first (OWASP ASVS 5.0, 6.2.4). From
 * the frequency list of zxcvbn, MIT license, (c) 2012–2016 Dan Wheeler and Dropbox, Inc.
 */
let common: ReadonlySet<string> | undefined

/** Why a password is too easy to guess for this account, or undefined when it is not. */
export function weakness(password: string, account: { username: string; email?: string }): string | undefined {
  common ??= new Set(commonPasswords.split('\n'))
  const lower = password.toLowerCase()
  if (common.has(lower)) return 'is one of the 3,000 most common passwords'
  // Context words (OWASP ASVS 5.0, 6.2.11): the first things that somebody who knows the account tries.
  const { username, email = '' } = account
  const [localPart = ''] = email.split('@')
  if ([username, email, localPart].includes(lower)) return 'is the username or the e-mail address'
  return undefined
}

/**
 * The same for an account that guards everything: nor is a common password taken, or the username, with digits and signs around it,
 * which is how it grows to the length that is asked for (`password1234`), and what guessers try next.
 */
export function strictWeakness(password: string, account: { username: string }): string | undefined {
  const lower = password.toLowerCase()
  const letters = [...lower.matchAll(/\p{L}/gu)].map(({ index }) => index)
  const [first = lower.length, last = -1] = [letters[0], letters.at(-1)]
  const weak = weakness(password, account)
  if (weak) return weak
  for (let start = 0; start <= first; start++)
    for (let end = Math.max(last, start) + 1; end <= lower.length; end++)
      if (weakness(lower.slice(start, end), account)) return 'is easy to guess with digits or signs around it'
  return undefined
}

/**
 * Refuses one that is about to be chosen.
 * @param detail what `weakness` or `strictWeakness` says of it
 * @throws PasswordWeak
 */
export function refuseWeak(detail: string | undefined): void {
  if (detail) throw ruleErrors.PasswordWeak({ problems: [{ pointer: '/password', detail }] })
}
