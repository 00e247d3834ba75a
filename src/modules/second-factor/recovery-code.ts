import { randomBytes } from 'node:crypto'

/**
 * Recovery codes: 120 random bits each, in base32 by groups of four, to be printed or copied. So many bits that nobody guesses one, and
 * that a fast digest is enough (ASVS 5.0, 6.5.2).
 */
const codeBytes = 15
export const recoveryCodeCount = 10
/** Without I, O, 0 and 1, which people take for each other. */
const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'
const form = /^[A-HJ-NP-Z2-9]{24}$/

export const newRecoveryCodes = (): string[] => Array.from({ length: recoveryCodeCount }, newRecoveryCode)

function newRecoveryCode(): string {
  let bits = BigInt(`0x${randomBytes(codeBytes).toString('hex')}`)
  let text = ''
  for (let i = 0; i < (codeBytes * 8) / 5; i++) {
    text += alphabet[Number(bits & 31n)]
    bits >>= 5n
  }
  return text.replace(/.{4}(?=.)/g, '$&-')
}

/** As people type it: whatever case, with or without spaces and dashes. */
export const plain = (code: string): string => code.replace(/[\s-]/g, '').toUpperCase()

/** @param code plain */
export const isRecoveryCode = (code: string): boolean => form.test(code)
