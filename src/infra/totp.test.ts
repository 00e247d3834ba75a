import { expect, test } from 'bun:test'
import { createTotp } from './totp'

const totp = createTotp()
/** `12345678901234567890` of RFC 6238 appendix B, in base32. */
const seed = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
/** Of SHA-1 there, the last six of its eight digits. */
const vectors: readonly (readonly [seconds: number, code: string])[] = [
  [59, '287082'],
  [1_111_111_109, '081804'],
  [1_111_111_111, '050471'],
  [1_234_567_890, '005924'],
  [2_000_000_000, '279037'],
  [20_000_000_000, '353130'],
]
const stepMs = 30_000
const stepOf = (code: string, nowMs: number) => totp.stepOf(seed, code, nowMs)

test('codes are those of RFC 6238', async () => {
  for (const [seconds, code] of vectors) expect([seconds, await stepOf(code, seconds * 1000)]).toEqual([seconds, Math.floor(seconds / 30)])
})

test('a code is good for its step, the one before and the one after, and for no other', async () => {
  for (const [seconds, code] of vectors.slice(1)) {
    const startMs = Math.floor(seconds / 30) * stepMs
    const at = async (ms: number) => (await stepOf(code, startMs + ms)) !== undefined
    const seen = [-stepMs - 1, -stepMs, 0, stepMs - 1, 2 * stepMs - 1, 2 * stepMs].map(at)
    expect(await Promise.all(seen)).toEqual([false, true, true, true, true, false])
  }
})

test('what is no code is wrong, and nothing breaks', async () => {
  for (const code of ['', '28708', '2870820', ' 287082', '28708a', '２８７０８２', '287082\n', '-87082'])
    expect([code, await stepOf(code, 59_000)]).toEqual([code, undefined])
})

test('seeds are random, of 160 bits, and a link carries seed, account and issuer', async () => {
  const seeds = await Promise.all(Array.from({ length: 100 }, () => totp.newSeed()))
  expect(new Set(seeds).size).toBe(100)
  for (const each of seeds) expect(each).toMatch(/^[A-Z2-7]{32}$/)
  const link = new URL(await totp.linkOf(seed, { issuer: 'bingo & co', account: 'grace' }))
  expect([link.protocol, link.host, decodeURIComponent(link.pathname)]).toEqual(['otpauth:', 'totp', '/bingo & co:grace'])
  expect([link.searchParams.get('secret'), link.searchParams.get('issuer')]).toEqual([seed, 'bingo & co'])
})
