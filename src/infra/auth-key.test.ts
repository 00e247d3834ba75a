import { expect, test } from 'bun:test'
import { rootKey } from './auth-key'

const keyOf = (key: string) => rootKey({ auth: { key }, database: { url: 'mysql://u@h/d' } } as never)

test('a root key is 32 random bytes at least, and nothing that can be guessed', () => {
  const refused = {
    'auth.key has 16 bytes': 'hVnq3pVbYg0c8yXhUOJZ5w==',
    'auth.key is not random': Buffer.alloc(32, 'aB').toString('base64'),
    'auth.key is words': 'this-is-a-development-key-please-do-not-use-it-anywhere',
    'auth.key is words, ': 'Correct Horse Battery Staple, and then some more of Them',
    'auth.key is words, which': 'MySuperSecretKeyForTheApiOfTheWholeCompany2026',
    'auth.key has 0 bytes': '',
  }
  for (const [message, key] of Object.entries(refused))
    expect(() => keyOf(key)).toThrow(expect.objectContaining({ exitCode: 78, message: expect.stringContaining(message) }))
  expect(() => rootKey({ auth: {}, database: { url: 'mysql://u@h/d' } } as never)).toThrow('auth.key is not set')
  // What it was is not repeated.
  expect(() => keyOf('MySuperSecretKeyForTheApiOfTheWholeCompany2026')).not.toThrow(/SuperSecret/)
})

test('a key that is random is taken, in any of its spellings', () => {
  for (let i = 0; i < 2000; i++) {
    const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(32)))
    for (const spelling of ['base64', 'base64url', 'hex'] as const) expect(Buffer.from(keyOf(bytes.toString(spelling)))).toEqual(bytes)
  }
})
