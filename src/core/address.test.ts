import { expect, test } from 'bun:test'
import { isIP } from 'node:net'
import fc from 'fast-check'
import { networkOf, parseAddress, parseNetwork, siteOf } from './address'

test('an address has one spelling', () => {
  const spellings: [string, string | undefined][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:C000:0201', '192.0.2.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8::0:1', '2001:db8::1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['fe80::1%eth0', 'fe80::1'],
    ['192.0.2', undefined],
    ['192.0.2.256', undefined],
    ['1:2:3', undefined],
    ['1:2:3:4:5:6:7:8:9', undefined],
    ['1:2:3:4::5:6:7:8', undefined],
    ['1::2::3', undefined],
    [':::', undefined],
    [':1:2:3:4:5:6:7', undefined],
    ['::192.0.2.1:1', undefined],
    ['::g', undefined],
    ['::12345', undefined],
    ['::1%', undefined],
    ['192.0.2.01', undefined],
    [' 192.0.2.1', undefined],
    ['', undefined],
    ['example.com', undefined],
  ]
  expect(spellings.map(([text]) => [text, parseAddress(text)])).toEqual(spellings)
})

test('what the library of the platform takes for an address is one here, and nothing else', () => {
  const parts = ['0', '1', 'ffff', 'FFFFF', '::', ':', '.', '255', '256', '1.2.3.4', 'g', '%', '01', ' ', '-']
  const text = fc.array(fc.constantFrom(...parts), { maxLength: 17 }).map(chosen => chosen.join(''))
  const shaped = fc.array(fc.constantFrom(...parts), { minLength: 2, maxLength: 8 }).map(chosen => chosen.join(':'))
  fc.assert(
    fc.property(fc.oneof(text, shaped, fc.ipV4(), fc.ipV6(), fc.string()), given => {
      // Zones are named by the machine that has them; what they may hold is not of interest.
      fc.pre(!given.includes('%'))
      const ours = parseAddress(given)
      expect(ours !== undefined).toBe(isIP(given) !== 0)
      if (ours !== undefined) expect(parseAddress(ours)).toBe(ours)
    }),
    { numRuns: 5000 },
  )
})

test('who shares a network of IPv6 is one caller, who has an address of IPv4 another', () => {
  expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64')
  expect(networkOf('2001:db8:1:2::1')).toBe('2001:db8:1:2::/64')
  expect(networkOf('2001:db8:1:3::1')).toBe('2001:db8:1:3::/64')
  expect(networkOf('::1')).toBe('::/64')
  expect(networkOf('192.0.2.1')).toBe('192.0.2.1')
  expect(networkOf('unknown')).toBe('unknown')
  expect(siteOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1::/48')
  expect(siteOf('2001:db8:2::1')).toBe('2001:db8:2::/48')
  expect([siteOf('192.0.2.1'), siteOf('::ffff:192.0.2.1'), siteOf('unknown')]).toEqual([undefined, undefined, undefined])
})

test('a network holds the addresses that begin with its bits', () => {
  const holds = (network: string, address: string) => parseNetwork(network)?.(address)
  expect(holds('10.0.0.0/8', '10.255.0.1')).toBe(true)
  expect(holds('10.0.0.0/8', '11.0.0.1')).toBe(false)
  expect(holds('10.0.0.0/8', '::ffff:10.0.0.1')).toBe(true)
  expect(holds('192.0.2.1', '192.0.2.1')).toBe(true)
  expect(holds('192.0.2.1', '192.0.2.2')).toBe(false)
  expect(holds('0.0.0.0/0', '2001:db8::1')).toBe(false)
  expect(holds('fd00::/8', 'fdff::1')).toBe(true)
  expect(holds('fd00::/8', 'fe00::1')).toBe(false)
  for (const wrong of ['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'fd00::/129', 'proxy', '', '10.0.0.0/-1'])
    expect([wrong, parseNetwork(wrong)]).toEqual([wrong, undefined])
})
