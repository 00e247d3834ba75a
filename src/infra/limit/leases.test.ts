import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { mostWithin } from '@/testing/rate-limits'
import { createLeases } from './leases'
import { minute } from './ledger'
import { memoryLedger } from './memory'

/** Limits of one process by a clock that stands still, which the test sets. */
function ownLeases() {
  const time = { nowMs: 1_000_000 }
  const nowMs = () => time.nowMs
  const own = memoryLedger(minute, nowMs, 100)
  const leases = createLeases({ span: minute, nowMs, own, keysMax: 100, shared: () => undefined, asked: () => {} })
  return { time, take: (key: string, limit: number) => leases.take(key, limit) as boolean }
}

test('within no 60 seconds, wherever they begin, more requests pass than the limit', () => {
  const step = fc.record({ waitMs: fc.oneof(fc.nat(50), fc.nat(5000), fc.nat(70_000)), requests: fc.integer({ min: 1, max: 80 }) })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.array(step, { maxLength: 60 }), (limit, steps) => {
      const { time, take } = ownLeases()
      const passed: number[] = []
      for (const { waitMs, requests } of steps) {
        time.nowMs += waitMs
        for (let i = 0; i < requests; i++) if (take('user:1', limit)) passed.push(time.nowMs)
      }
      expect(mostWithin(passed, minute.windowMs)).toBeLessThanOrEqual(limit)
    }),
    { numRuns: 300 },
  )
})

test('what was leased counts from when it may have been used, not from when it was taken', () => {
  const { time, take } = ownLeases()
  const limit = 200
  const passed: number[] = []
  const takeUpTo = (count: number) => {
    for (let i = 0; i < count && take('user:1', limit); i++) passed.push(time.nowMs)
  }
  takeUpTo(limit)
  // All of that is forgotten, but that its leases were large. The next begins as a bucket ends, and is used up as it ends itself.
  time.nowMs = Math.ceil((time.nowMs + 70_000) / minute.bucketMs) * minute.bucketMs - 1
  const leasedMs = time.nowMs
  takeUpTo(1)
  time.nowMs = leasedMs + minute.leaseMs - 1
  takeUpTo(9)
  time.nowMs = leasedMs + minute.windowMs + 2
  takeUpTo(limit)
  expect(mostWithin(passed, minute.windowMs)).toBeLessThanOrEqual(limit)
  expect(passed.length).toBeGreaterThan(limit + 150)
})

test('who asks without end gets the limit in the first minute, and nine tenths of it in each of the next', () => {
  for (const limit of [1, 7, 100, 6000]) {
    const { time, take } = ownLeases()
    const passed: number[] = []
    const startMs = time.nowMs
    for (; time.nowMs < startMs + 600_000; time.nowMs += 100) {
      while (take('user:1', limit)) passed.push(time.nowMs)
    }
    expect(passed.filter(atMs => atMs < startMs + 60_000)).toHaveLength(limit)
    expect(passed.length).toBeGreaterThanOrEqual(9 * limit)
  }
})

test('who asks no more than it may is never refused', () => {
  for (const limit of [20, 60, 600]) {
    const { time, take } = ownLeases()
    for (let i = 0; i < limit * 5; i++) {
      expect(take('user:1', limit)).toBe(true)
      // A tenth below the limit: what is counted in buckets is forgotten a little later.
      time.nowMs += 66_500 / limit
    }
  }
})

test('keys have limits of their own', () => {
  const { take } = ownLeases()
  expect([take('user:1', 1), take('user:1', 1), take('user:2', 1)]).toEqual([true, false, true])
})
