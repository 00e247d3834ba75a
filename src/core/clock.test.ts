import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { toTimestamp } from './clock'

test('a timestamp is what Date says it is', () => {
  const earliest = Date.parse('1000-01-01T00:00:00.000Z')
  const latest = Date.parse('9999-12-31T23:59:59.999Z')
  const edges = ['2000-02-29', '1900-02-28', '1900-03-01', '2100-12-31', '1970-01-01', '1969-12-31', '2024-02-29'].map(Date.parse)
  for (const ms of [earliest, latest, ...edges, ...edges.map(edge => edge - 1)]) expect(toTimestamp(ms)).toBe(new Date(ms).toISOString())
  fc.assert(
    fc.property(fc.integer({ min: earliest, max: latest }), ms => {
      expect(toTimestamp(ms)).toBe(new Date(ms).toISOString())
    }),
    { numRuns: 10_000 },
  )
})
