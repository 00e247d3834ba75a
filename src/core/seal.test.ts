import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { createCipher, createSeal } from './seal'

const key = Uint8Array.from({ length: 32 }, (_, i) => i)
const seal = createSeal(key, 'a')

test('what was changed anywhere, sealed for another purpose, or under another key does not open', () => {
  const sealed = seal.close('text', 'purpose')
  for (let i = 0; i < sealed.length; i++) {
    const other = sealed[i] === 'A' ? 'B' : 'A'
    expect(seal.open(sealed.slice(0, i) + other + sealed.slice(i + 1), 'purpose')).toBeUndefined()
  }
  for (const bad of ['', 'x', sealed.slice(1), `${sealed}=`, ` ${sealed}`]) expect(seal.open(bad, 'purpose')).toBeUndefined()
  expect(seal.open(sealed, 'purpose2')).toBeUndefined()
  expect(createSeal(key, 'b').open(sealed, 'purpose')).toBeUndefined()
  expect(createSeal(key.toReversed(), 'a').open(sealed, 'purpose')).toBeUndefined()
})

test('what was sealed opens, whatever it says', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (text, purpose) => {
      expect(seal.open(seal.close(text, purpose), purpose)).toBe(text)
    }),
  )
})

const cipher = createCipher(key, 'a')

test('what was changed anywhere, closed for another context, or under another key does not open', () => {
  const closed = cipher.close('text', 'context')
  for (let i = 0; i < closed.length; i++) {
    const other = closed[i] === 'A' ? 'B' : 'A'
    expect(cipher.open(closed.slice(0, i) + other + closed.slice(i + 1), 'context')).toBeUndefined()
  }
  for (const bad of ['', 'x', closed.slice(1), `${closed}=`, ` ${closed}`]) expect(cipher.open(bad, 'context')).toBeUndefined()
  expect(cipher.open(closed, 'context2')).toBeUndefined()
  expect(createCipher(key, 'b').open(closed, 'context')).toBeUndefined()
  expect(createCipher(key.toReversed(), 'a').open(closed, 'context')).toBeUndefined()
})

test('what was closed opens, whatever it says, and is hidden, differently each time', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 6 }), fc.string(), (text, context) => {
      const closed = cipher.close(text, context)
      expect(cipher.open(closed, context)).toBe(text)
      expect(Buffer.from(closed, 'base64url').includes(Buffer.from(text))).toBe(false)
      expect(cipher.close(text, context)).not.toBe(closed)
    }),
  )
})

test('a digest is the same for the same text and key only', () => {
  expect(cipher.digest('text')).toBe(createCipher(key, 'a').digest('text'))
  expect(cipher.digest('text')).toMatch(/^[\w-]{43}$/)
  const others = [cipher.digest('text2'), createCipher(key, 'b').digest('text'), createCipher(key.toReversed(), 'a').digest('text')]
  for (const other of others) expect(other).not.toBe(cipher.digest('text'))
})
