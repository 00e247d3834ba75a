import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { messageMax, messageOf } from './text'

test('a text that fits is sent as it is, and of a longer one the beginning, with no character cut', () => {
  const text = fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 3000 }), fc.constantFrom('\n', ' ', '😀'.repeat(2047))), {
    maxLength: 4,
  })
  fc.assert(
    fc.property(text, pieces => {
      const whole = pieces.join('').toWellFormed()
      const message = messageOf(pieces.join(''))
      if (whole.trim() === '') return expect(message).toBeUndefined()
      if (whole.length <= messageMax) return expect(message).toBe(whole)
      expect([message?.isWellFormed(), message?.endsWith('…'), whole.startsWith(message?.slice(0, -1) ?? '?')]).toEqual([true, true, true])
      expect(message?.length).toBeGreaterThanOrEqual(messageMax - 1)
      expect(message?.length).toBeLessThanOrEqual(messageMax)
    }),
    { numRuns: 300 },
  )
})

test('of what has two units both are kept or none', () => {
  expect(messageOf(`${'a'.repeat(4094)}😀b`)).toBe(`${'a'.repeat(4094)}…`)
  expect(messageOf(`${'a'.repeat(4093)}😀bc`)).toBe(`${'a'.repeat(4093)}😀…`)
  expect(messageOf('a'.repeat(4096))).toBe('a'.repeat(4096))
  expect(messageOf('\ud83d')).toBe('\ufffd')
})
