import { expect, test } from 'bun:test'
import { hashOf, isWellFormed, looksLikeKey, makeKey } from './key'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

test('a key is found by scanners of secrets wherever it stands, and no two are the same', () => {
  const keys = Array.from({ length: 2000 }, makeKey)
  expect(new Set(keys.map(({ key }) => key)).size).toBe(2000)
  for (const { key, start, keyHash } of keys) {
    expect([/\bbk_[0-9A-Za-z]{44}\b/.exec(`BINGO_KEY="${key}";`)?.[0], isWellFormed(key), looksLikeKey(key)]).toEqual([key, true, true])
    expect([key.startsWith(start), start.length, hashOf(key)]).toEqual([true, 9, keyHash])
  }
})

test('each digit of a key is as likely as another', () => {
  const counts = new Map<string, number>()
  const rounds = 4000
  for (let i = 0; i < rounds; i++) for (const digit of makeKey().key.slice(3, 41)) counts.set(digit, (counts.get(digit) ?? 0) + 1)
  const expected = (rounds * 38) / digits.length
  // Chi-squared of 61 degrees of freedom is above 130 once in a million times.
  const chiSquared = [...digits].reduce((sum, digit) => sum + ((counts.get(digit) ?? 0) - expected) ** 2 / expected, 0)
  expect(chiSquared).toBeLessThan(130)
})

test('a typo is noticed: any other character, any two that have changed places, any that is missing', () => {
  const { key } = makeKey()
  for (let i = 0; i < key.length; i++) {
    for (const digit of digits) {
      const other = key.slice(0, i) + digit + key.slice(i + 1)
      if (other !== key) expect([other, isWellFormed(other)]).toEqual([other, false])
    }
    const swapped = key.slice(0, i) + key.slice(i + 1, i + 2) + key.slice(i, i + 1) + key.slice(i + 2)
    if (swapped !== key) expect(isWellFormed(swapped)).toBe(false)
    expect(isWellFormed(key.slice(0, i) + key.slice(i + 1))).toBe(false)
  }
  for (const wrong of ['', 'bk_', `${key} `, key.toUpperCase(), `${key}${key}`]) expect(isWellFormed(wrong)).toBe(false)
})
