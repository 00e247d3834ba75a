import { expect, test } from 'bun:test'
import { rankTest } from './rank-test'

/** Of the data set `mtcars` of R (Henderson and Velleman, 1981): miles per gallon of cars with automatic and with manual gears. */
const automatic = [21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4, 14.7, 21.5, 15.5, 15.2, 13.3, 19.2]
const manual = [21.0, 21.0, 22.8, 32.4, 30.4, 33.9, 27.3, 26.0, 30.4, 15.8, 19.7, 15.0, 21.4]

/** The same numbers at each run: mulberry32. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('it says what R says', () => {
  // wilcox.test(mpg ~ am, data = mtcars): W = 42, p-value = 0.001871
  expect(rankTest(automatic, manual)).toBeCloseTo(0.001871, 5)
  expect(rankTest(manual, automatic)).toBeCloseTo(0.001871, 5)
})

test('samples of one distribution are told apart as seldom as it says', () => {
  const next = random(1)
  const sample = () => Array.from({ length: 60 }, () => Math.round(next() * 1000) + (next() < 0.02 ? 50_000 : 0))
  const below = Array.from({ length: 2000 }, () => rankTest(sample(), sample())).filter(p => p < 0.05).length
  // Within four standard deviations of 100.
  expect(below).toBeGreaterThan(60)
  expect(below).toBeLessThan(140)
})

test('a small shift is found in noise that is five times as large', () => {
  const next = random(2)
  const sample = (shift: number) => Array.from({ length: 200 }, () => shift + next() * 10)
  expect(rankTest(sample(0), sample(2))).toBeLessThan(0.001)
})

test('samples that are all the same do not differ, and too few are refused', () => {
  const same = Array.from({ length: 20 }, () => 1)
  expect(rankTest(same, same)).toBe(1)
  expect(() => rankTest(same.slice(0, 9), same)).toThrow(RangeError)
})
