import { randomBytes } from 'node:crypto'

/*
 * Codes that link a chat account, to be copied, or typed on a phone while they stand on another screen: 60 random bits in base32, by groups
 * of four. Nobody guesses one in the ten minutes that it is good for.
 */

const codeLength = 12
/** Without I, O, 0 and 1, which people take for each other. */
const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'
const form = /^[A-HJ-NP-Z2-9]{12}$/

export const newLinkCode = (): string =>
  // 32 letters, so that the low bits of each byte are one of them, and all are as likely.
  Array.from(randomBytes(codeLength), byte => alphabet[byte & 31])
    .join('')
    .replace(/.{4}(?=.)/g, '$&-')

/** As people type it: whatever case, with or without spaces and dashes. @returns undefined for what is no code */
export function plainLinkCode(typed: string): string | undefined {
  const code = typed.replace(/[\s-]/g, '').toUpperCase()
  return form.test(code) ? code : undefined
}

/** Many more than anybody sends at once. */
const foundMax = 32
const within = /(?<![A-Z0-9])(?=([A-HJ-NP-Z2-9]{4}[\s-]{0,3}[A-HJ-NP-Z2-9]{4}[\s-]{0,3}[A-HJ-NP-Z2-9]{4})(?![A-Z0-9]))/gi

/** What may be a code in a text, as `plainLinkCode` gives it: also with words around it, as others who read it see it. */
export function linkCodesIn(text: string): string[] {
  const found = [text, ...Array.from(text.matchAll(within), ([, code = '']) => code)].map(plainLinkCode)
  return [...new Set(found.filter(code => code !== undefined))].slice(0, foundMax)
}
