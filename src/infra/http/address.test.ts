import { expect, test } from 'bun:test'
import { addressOf } from '@/core/address'
import { locator } from './address'

/** @param peer the other end of the connection */
function located(peer: string, forwardedFor: string | undefined, trustedProxies: readonly string[]): string {
  const locate = locator(trustedProxies, () => ({ requestIP: () => ({ address: peer }) }))
  const headers = forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor, forwarded: 'for=203.0.113.66' }
  return addressOf(Object.assign(new Request('http://localhost', { headers }), { locate }))
}

const proxies = ['10.0.0.0/8', 'fd00::/8']

test('what a client says of itself is not believed', () => {
  expect(located('198.51.100.7', '203.0.113.1', [])).toBe('198.51.100.7')
  expect(located('198.51.100.7', '203.0.113.1', proxies)).toBe('198.51.100.7')
  expect(located('10.0.0.1', '203.0.113.1', [])).toBe('10.0.0.1')
  expect(located('10.0.0.1', '203.0.113.1, 198.51.100.7', proxies)).toBe('198.51.100.7')
  expect(located('10.0.0.1', '203.0.113.1, 198.51.100.7, 10.0.0.2', proxies)).toBe('198.51.100.7')
})

test('what a trusted proxy says is, from the end of the list to the first who is not one', () => {
  expect(located('::ffff:10.0.0.1', '198.51.100.7', proxies)).toBe('198.51.100.7')
  expect(located('fd00::1', '2001:DB8::1,fd00::2', proxies)).toBe('2001:db8::1')
  expect(located('10.0.0.1', '10.0.0.3, 10.0.0.2', proxies)).toBe('10.0.0.3')
  expect(located('10.0.0.1', '198.51.100.7:4711', proxies)).toBe('198.51.100.7')
  expect(located('10.0.0.1', '[2001:db8::1]:4711', proxies)).toBe('2001:db8::1')
})

test('what is no address is not taken for one', () => {
  for (const wrong of ['', 'unknown', '_hidden', 'ada@example.com', '198.51.100', '\u00ff']) {
    expect([wrong, located('10.0.0.1', wrong, proxies)]).toEqual([wrong, '10.0.0.1'])
    expect([wrong, located('10.0.0.1', `${wrong}, 10.0.0.2`, proxies)]).toEqual([wrong, '10.0.0.2'])
  }
})

test('a list of any length is read at once', () => {
  const started = performance.now()
  expect(located('10.0.0.1', '10.0.0.9,'.repeat(100_000), proxies)).toBe('10.0.0.1')
  expect(located('10.0.0.1', `${'203.0.113.1,'.repeat(100_000)}198.51.100.7`, proxies)).toBe('198.51.100.7')
  expect(performance.now() - started).toBeLessThan(1000)
})

test('over a connection it is that of the other end; without one nobody knows', async () => {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, connections) => new Response(addressOf(Object.assign(request, { locate: locator([], () => connections) }))),
  })
  expect(await (await fetch(server.url, { headers: { 'x-forwarded-for': '203.0.113.1' } })).text()).toBe('127.0.0.1')
  await server.stop(true)
  expect(addressOf(new Request('http://localhost'))).toBe('unknown')
})
