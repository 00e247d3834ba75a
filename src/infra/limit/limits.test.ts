import { expect, test } from 'bun:test'
import { anonymous, type Identity } from '@/core/identity'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { ask, asUser, noLimits } from '@/testing/rate-limits'
import { adminCalled } from '@/testing/identities'
import { openRateLimits } from './open'

async function opened(limit: Partial<typeof noLimits>) {
  const metrics = countingMetrics()
  const limits = await openRateLimits(
    { limit: { ...noLimits, ...limit }, redis: { cluster: false, sentinelName: 'x', prefix: 'bingo' } },
    { redis: undefined, log: fakeLog(), metrics },
  )
  /** How many of so many pass. */
  const passing = async (times: number, ...asked: Parameters<typeof ask> extends [unknown, ...infer Rest] ? Rest : never) => {
    let passed = 0
    for (let i = 0; i < times; i++) if ((await ask(limits, ...asked)).isLetThrough) passed++
    return passed
  }
  return { limits, metrics, passing }
}

const key = (id: string, more: { userId?: string; requestsPerMinute?: number } = {}): Identity => ({
  kind: 'apiKey',
  id,
  userId: more.userId,
  scopes: new Set(),
  requestsPerMinute: more.requestsPerMinute,
})

test('a request says in its headers what is left, and the one too many when to come again', async () => {
  const { limits, metrics } = await opened({ readPerMinute: 2 })
  const first = await ask(limits, 'read', asUser('1'))
  expect(first).toMatchObject({ isLetThrough: true, headers: { 'ratelimit-policy': '"read";q=2;w=60' } })
  expect(first.headers['ratelimit']).toMatch(/^"read";r=1;t=6[3-6]$/)
  await ask(limits, 'read', asUser('1'))
  const refused = await ask(limits, 'read', asUser('1'))
  expect(refused.isLetThrough).toBe(false)
  expect(refused.retryAfterSeconds).toBeWithin(60, 67)
  expect(refused.headers['ratelimit']).toBe(`"read";r=0;t=${refused.retryAfterSeconds}`)
  expect(metrics.count('bingo_rate_limit_refusals_total', { limit: 'read' })).toBe(1)
})

test('of those whom nobody knows, all of an address are one caller, and all of a /64 of IPv6', async () => {
  const { passing } = await opened({ anonymousPerMinute: 3, credentialsPerMinute: 2, readPerMinute: 1 })
  expect(await passing(5, 'read', anonymous, '192.0.2.1')).toBe(3)
  expect(await passing(5, 'write', anonymous, '192.0.2.1')).toBe(0)
  expect(await passing(5, 'write', anonymous, '192.0.2.2')).toBe(3)
  expect(await passing(3, 'read', anonymous, '2001:db8::1')).toBe(3)
  expect(await passing(3, 'read', anonymous, '2001:db8::2')).toBe(0)
  expect(await passing(3, 'read', anonymous, '2001:db8:0:1::2')).toBe(3)
  expect(await passing(5, 'credentials', anonymous, '192.0.2.1')).toBe(2)
})

test('the /64s of a /48 of IPv6 have sixteen times the limit together, and other networks are not counted with them', async () => {
  const { limits, passing } = await opened({ anonymousPerMinute: 3, credentialsPerMinute: 2 })
  for (const [rateClass, limit] of [
    ['read', 3],
    ['credentials', 2],
  ] as const) {
    let passed = 0
    for (let i = 0; i < 20; i++) passed += await passing(limit, rateClass, anonymous, `2001:db8:1:${i.toString(16)}::1`)
    expect(passed).toBe(16 * limit)
    expect(await passing(limit, rateClass, anonymous, '2001:db8:2::1')).toBe(limit)
    expect(await passing(limit, rateClass, anonymous, '192.0.2.1')).toBe(limit)
  }
  const { headers } = await ask(limits, 'read', anonymous, '2001:db8:3::1')
  expect(headers['ratelimit-policy']).toBe('"anonymous";q=3;w=60, "anonymous-site";q=48;w=60')
})

test('a user is one caller from everywhere, with limits of its own for reading and writing', async () => {
  const { passing } = await opened({ readPerMinute: 3, writePerMinute: 2, anonymousPerMinute: 1 })
  expect(await passing(2, 'read', asUser('1'), '192.0.2.1')).toBe(2)
  expect(await passing(2, 'read', asUser('1'), '192.0.2.2')).toBe(1)
  expect(await passing(3, 'write', asUser('1'))).toBe(2)
  expect(await passing(3, 'read', asUser('2'))).toBe(3)
  expect(await passing(3, 'read', adminCalled('1', []))).toBe(3)
})

test('what tries credentials counts for the address also when a user sends it, so that many accounts give no more, and for the user besides', async () => {
  const { limits, passing } = await opened({ credentialsPerMinute: 3 })
  expect(await passing(2, 'credentials', asUser('1'))).toBe(2)
  expect(await passing(2, 'credentials', asUser('2'))).toBe(1)
  expect(await passing(1, 'credentials', key('a'))).toBe(0)
  expect(await passing(1, 'credentials', anonymous)).toBe(0)
  expect(await passing(2, 'credentials', asUser('1'), '192.0.2.2')).toBe(1)
  expect(await passing(2, 'credentials', asUser('2'), '192.0.2.3')).toBe(2)
  const { headers } = await ask(limits, 'credentials', asUser('3'), '192.0.2.4')
  expect(headers['ratelimit-policy']).toBe('"credentials";q=3;w=60, "credentials-caller";q=3;w=60')
})

test('keys of a user give the user no more, that of a service counts for itself, and a number said of a key is one limit more', async () => {
  const { limits, passing } = await opened({ readPerMinute: 5 })
  expect(await passing(3, 'read', key('a', { userId: '1' }))).toBe(3)
  expect(await passing(3, 'read', key('b', { userId: '1' }))).toBe(2)
  expect(await passing(1, 'read', asUser('1'))).toBe(0)
  expect(await passing(6, 'read', key('c'))).toBe(5)
  expect(await passing(9, 'read', key('d', { requestsPerMinute: 7 }))).toBe(7)
  expect(await passing(9, 'read', key('e', { userId: '2', requestsPerMinute: 2 }))).toBe(2)
  expect(await passing(9, 'read', key('f', { userId: '3', requestsPerMinute: 100 }))).toBe(5)
  const { headers } = await ask(limits, 'read', key('g', { userId: '4', requestsPerMinute: 100 }))
  expect(headers['ratelimit-policy']).toBe('"key";q=100;w=60, "read";q=5;w=60')
})

test('credentials that nobody has are counted by their address, apart from other requests, and then none from there are looked at', async () => {
  const { limits, passing, metrics } = await opened({ anonymousPerMinute: 3 })
  const from = (address: string) => Object.assign(new Request('http://localhost/'), { locate: () => address })
  const isAdmitted = (address: string, headers: Record<string, unknown> = {}) => {
    try {
      limits.admit(from(address), headers)
      return true
    } catch {
      return false
    }
  }
  expect(await passing(5, 'read', anonymous)).toBe(3)
  for (let i = 0; i < 3; i++) {
    expect(isAdmitted('192.0.2.1')).toBe(true)
    await limits.takeInvalid(from('192.0.2.1'), {})
  }
  const headers: Record<string, unknown> = {}
  expect(isAdmitted('192.0.2.1', headers)).toBe(false)
  expect(headers['ratelimit']).toMatch(/^"invalid";r=0;t=6[3-6]$/)
  expect(isAdmitted('192.0.2.2')).toBe(true)
  expect(() => limits.takeInvalid(from('192.0.2.1'), {})).toThrow('too many')
  expect(metrics.count('bingo_rate_limit_refusals_total', { limit: 'invalid' })).toBe(2)
  for (let i = 0; i < 48; i++) await limits.takeInvalid(from(`2001:db8:1:${i.toString(16)}::1`), {})
  expect(isAdmitted('2001:db8:1:ffff::1')).toBe(false)
  expect(isAdmitted('2001:db8:2::1')).toBe(true)
})

test('0 is no limit, and says nothing', async () => {
  const { limits, passing } = await opened({})
  expect(await passing(1000, 'read', anonymous)).toBe(1000)
  expect((await ask(limits, 'credentials', anonymous)).headers).toEqual({})
})
