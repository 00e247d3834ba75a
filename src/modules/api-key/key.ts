/**
 * How API keys are spelled: `bk_`, 38 random characters of base62 (226 bits), and a checksum of six, the CRC-32 of what stands before.
 * So scanners of leaked secrets find them by `\bbk_[0-9A-Za-z]{44}\b` and know by the checksum, without asking anybody, that it is one;
 * a typo is noticed without a query; and a double click selects all of it.
 */
const prefix = 'bk_'
const randomLength = 38
const checksumLength = 6
/** The prefix and the first six, which leave 190 bits to guess: shown in lists, so that people tell their keys apart. */
const startLength = prefix.length + 6

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const keyPattern = /^bk_[0-9A-Za-z]{44}$/

export interface MadeKey {
  /** For its owner, once. */
  key: string
  /** To be kept. */
  keyHash: string
  start: string
}

export function makeKey(): MadeKey {
  const body = prefix + randomDigits(randomLength)
  const key = body + checksumOf(body)
  return { key, keyHash: hashOf(key), start: key.slice(0, startLength) }
}

/** Whether something is meant as a key: whoever calls so is not asked for another kind of credential. */
export const looksLikeKey = (text: string): boolean => text.startsWith(prefix)

/** Whether it may be a key of ours: it has the form, and no typo. */
export const isWellFormed = (text: string): boolean =>
  keyPattern.test(text) && checksumOf(text.slice(0, -checksumLength)) === text.slice(-checksumLength)

/** Fast, and not salted, which is right for what is random and long: nobody finds a key from its hash by trying. */
export const hashOf = (key: string): string => new Bun.CryptoHasher('sha256').update(key).digest('hex')

function checksumOf(body: string): string {
  let rest = Bun.hash.crc32(body)
  let text = ''
  for (let i = 0; i < checksumLength; i++) {
    text = digits[rest % digits.length] + text
    rest = Math.floor(rest / digits.length)
  }
  return text
}

/** Each digit equally likely: bytes beyond the last whole round of 62 are thrown away. */
function randomDigits(length: number): string {
  const bytes = new Uint8Array(1)
  let text = ''
  while (text.length < length) {
    const [byte = 0] = crypto.getRandomValues(bytes)
    if (byte < 4 * digits.length) text += digits[byte % digits.length]
  }
  return text
}
