import { expect, test } from 'bun:test'
import { attemptsMax, createRetryBudget, retryAfterMs } from './retry'

test('half of the budget is for trying again, and ten answers give back one', () => {
  const budget = createRetryBudget()
  const allowed = () => {
    let count = 0
    while (budget.failed()) count++
    return count
  }
  expect(allowed()).toBe(499)
  expect(budget.failed()).toBe(false)
  for (let i = 0; i < 50; i++) budget.answered()
  // What is refused counts as well: two were below the half, so of the five that came back three are left.
  expect(allowed()).toBe(3)
  for (let i = 0; i < 10_000; i++) budget.answered()
  expect(allowed()).toBe(499)
})

test('waits double to their most, are up to a half shorter, and are as long as the server asks', () => {
  const waits = (random: number) => [1, 2, 3, 4].map(attempt => retryAfterMs(attempt, 0, 10_000, () => random))
  expect(waits(0)).toEqual([50, 100, 200, 400])
  expect(waits(1)).toEqual([25, 50, 100, 200])
  expect(retryAfterMs(1, 700, 10_000, () => 0)).toBe(700)
})

test('there is no attempt after the last one, nor one that would begin when it is over', () => {
  expect(retryAfterMs(attemptsMax, 0, 10_000)).toBeUndefined()
  expect(retryAfterMs(1, 0, 50, () => 0)).toBeUndefined()
  expect(retryAfterMs(1, 2000, 1999, () => 0)).toBeUndefined()
})
