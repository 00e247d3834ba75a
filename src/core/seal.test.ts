import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { createSeal } from './seal'

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
