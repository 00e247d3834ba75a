import { expect, test } from 'bun:test'
import { backoffMs } from './backoff'

test('waits double up to the most, and are up to a half shorter', () => {
  const waits = (random: number) => [0, 1, 2, 3, 5000].map(failures => backoffMs({ min: 100, max: 700 }, failures, () => random))
  expect(waits(0)).toEqual([100, 200, 400, 700, 700])
  expect(waits(1)).toEqual([50, 100, 200, 350, 350])
})
