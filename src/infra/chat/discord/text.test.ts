import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { bounded, messageMax, messageOf } from './text'

test('what Discord would format, mention or embed is shown as it is written', () => {
  const shown: [string, string][] = [
    ['**bold** _it_ ~~no~~ ||hidden||', '\\*\\*bold\\*\\* \\_it\\_ \\~\\~no\\~\\~ \\|\\|hidden\\|\\|'],
    ['`code` and a \\', '\\`code\\` and a \\\\'],
    ['<@123> <#4> <:e:5> <t:0:R>', '\\<@123> \\<#4> \\<:e:5> \\<t:0:R>'],
    ['@everyone @here @ada', '\\@everyone \\@here @ada'],
    ['[your bank](https://evil.example/a_b_c)', '\\[your bank](https://evil.example/a_b_c)'],
    ['# big\n> said\n- item\n  + item\n-# small', '\\# big\n\\> said\n\\- item\n  \\+ item\n\\-# small'],
    ['a - b > c # d', 'a - b > c # d'],
    ['see https://example.com/a_b~c and x_y', 'see https://example.com/a_b~c and x\\_y'],
  ]
  for (const [text, message] of shown) expect(messageOf(text)).toBe(message)
})

test('nothing is longer than Discord takes, breaks a character or ends with half a sign', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('*', '\\', 'a', '😀', '\n# ', 'https://a.b/_', ' ', '\ud800', '\0'), { maxLength: 3000 }),
      parts => {
        const message = messageOf(parts.join(''))
        expect(message.length).toBeLessThanOrEqual(messageMax)
        expect(message.length).toBeGreaterThan(0)
        expect(message.isWellFormed()).toBe(true)
        expect(message).not.toContain('\0')
        expect(/(^|[^\\])(\\\\)*\\$/.test(message)).toBe(false)
      },
    ),
    { numRuns: 200 },
  )
  expect(messageOf('a'.repeat(2000))).toBe('a'.repeat(2000))
  expect(messageOf('a'.repeat(2001))).toBe(`${'a'.repeat(1999)}…`)
  expect(messageOf('*'.repeat(2000))).toBe(`${'\\*'.repeat(999)}…`)
  expect(messageOf('  ')).toBe('…')
})

test('what strangers send is cut between characters', () => {
  expect(bounded('ab😀', 3)).toBe('ab')
  expect(bounded('ab😀', 4)).toBe('ab😀')
  expect(bounded('a\0b\ud800', 10)).toBe('ab\ufffd')
})
