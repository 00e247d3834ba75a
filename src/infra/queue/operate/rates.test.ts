import { describe, expect, test } from 'bun:test'
import type { Snapshot } from '../driver'
import { createSamples, percentilesOf, type Seen } from '../latency'
import { packSeen, readSeen } from '../snapshot'
import { paceOf } from './rates'

const total = (enqueued: number, done = enqueued) => ({ enqueued, done, failed: 0, crashed: 0, dead: 0, cancelled: 0 })
const nothing: Seen = { waits: {}, runs: {} }
const at = (agoMs: number, enqueued: number, seen = nothing): Snapshot => ({ agoMs, total: total(enqueued), seen })

describe('rates', () => {
  const enqueuedOf = (now: number, ...history: Snapshot[]) => {
    const { rates } = paceOf(total(now), history)
    return rates && [rates.enqueued, rates.overMs]
  }

  test('are those of the last minute, whenever snapshots were taken', () => {
    expect(enqueuedOf(600, at(4000, 560), at(60_000, 0), at(70_000, 0))).toEqual([10, 60_000])
    expect(enqueuedOf(600, at(50_000, 100), at(70_000, 0))).toEqual([9.167, 60_000])
  })
  test('of a queue that was quiet before count what has come since', () => {
    expect(enqueuedOf(120, at(1000, 120), at(4000, 0), at(1_800_000, 0))).toEqual([2, 60_000])
  })
  test('of a queue that is worked only since are of that time', () => {
    expect(enqueuedOf(100, at(2000, 90), at(20_000, 0))).toEqual([5, 20_000])
  })
  test('of a queue that nobody has worked for long are of that time', () => {
    expect(enqueuedOf(3600, at(3_600_000, 0))).toEqual([1, 3_600_000])
  })
  test('are not known of a queue that nobody has worked, and never below zero', () => {
    expect(enqueuedOf(5)).toBeUndefined()
    expect(enqueuedOf(5, at(0, 5))).toBeUndefined()
    expect(enqueuedOf(5, at(60_000, 50))).toEqual([0, 60_000])
  })
})

describe('latencies', () => {
  test('are within a tenth of what they were, over all processes and snapshots', () => {
    for (const ms of [0.2, 1, 3, 47, 999, 60_000, 86_400_000]) {
      const samples = createSamples()
      for (let i = 0; i < 10; i++) samples.ran(ms)
      const { p50Ms = 0 } = percentilesOf([samples.take()?.runs ?? {}]) ?? {}
      if (ms >= 1) expect([ms, Math.abs(p50Ms / ms - 1) < 0.1]).toEqual([ms, true])
      else expect(p50Ms).toBe(0.5)
    }
  })
  test('say how long half, all but five and all but one of a hundred took at most', () => {
    const samples = createSamples()
    for (let i = 0; i < 90; i++) samples.waited(10)
    for (let i = 0; i < 8; i++) samples.waited(1000)
    for (let i = 0; i < 2; i++) samples.waited(100_000)
    const seen = samples.take() as Seen
    const { latencies } = paceOf(total(0), [at(1000, 0, seen), at(3_599_000, 0, seen), at(3_700_000, 0, { waits: { 120: 999 }, runs: {} })])
    expect(latencies).toMatchObject({ overMs: 3_599_000, wait: { count: 200 } })
    expect(latencies?.run).toBeUndefined()
    const near = (ms: number, expected: number) => expect(Math.abs(ms / expected - 1)).toBeLessThan(0.1)
    near(latencies?.wait?.p50Ms ?? 0, 10)
    near(latencies?.wait?.p95Ms ?? 0, 1000)
    near(latencies?.wait?.p99Ms ?? 0, 100_000)
  })
  test('are taken once, and given back when they could not be handed in', () => {
    const samples = createSamples()
    expect(samples.take()).toBeUndefined()
    samples.waited(5)
    const seen = samples.take() as Seen
    expect(samples.take()).toBeUndefined()
    samples.giveBack(seen)
    samples.waited(5)
    expect(Object.values(samples.take()?.waits ?? {})).toEqual([2])
  })
  test('are kept as text, in which what stands twice is added, and what cannot be read is nothing', () => {
    const seen: Seen = { waits: { 3: 5, 129: 1 }, runs: { 0: 7 } }
    expect(readSeen(packSeen(seen))).toEqual(seen)
    expect(readSeen(`${packSeen(seen)} ${packSeen(seen)}`)).toEqual({ waits: { 3: 10, 129: 2 }, runs: { 0: 14 } })
    expect(readSeen('x w3 w:1 q3:1 w9999:1')).toEqual(nothing)
  })
})
