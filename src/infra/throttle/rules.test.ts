import { expect, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import { type Count, failed, forgottenAtMs, leftOf, type Rule, rules, takenBack, waitMs } from './rules'

const none: Count = { failures: 0, sinceMs: 0, nextAtMs: 0 }
const every = Object.values<Rule>(rules)

test('a delay that others can cause never lasts longer than a minute, and none longer than a quarter of an hour', () => {
  for (const rule of every) {
    let count = none
    for (let i = 0; i < 1000; i++) count = failed(count, rule, 0)
    expect(waitMs(count, rule, 0)).toBe(rule.delayMaxMs)
  }
  expect(rules.account.delayMaxMs).toBe(60_000)
  expect(Math.max(...every.map(({ delayMaxMs }) => delayMaxMs))).toBe(900_000)
})

test('whatever has been, nothing is left of it after a quiet day; before it is forgotten bit by bit', () => {
  for (const rule of every) {
    let count = none
    for (let i = 0; i < 1000; i++) count = failed(count, rule, 0)
    expect(leftOf(count, rule, rule.forgetMs).failures).toBe(count.failures - 1)
    expect(forgottenAtMs(count, rule)).toBeLessThanOrEqual(dayMs)
    expect(leftOf(count, rule, dayMs)).toEqual({ failures: 0, sinceMs: dayMs, nextAtMs: 0 })
  }
})

test('what is forgotten bit by bit is, also when failures go on', () => {
  // An honest address with a failure each ten minutes is never slowed down.
  let count = none
  for (let minute = 0; minute < 10_000; minute += 10) {
    count = failed(leftOf(count, rules.address, minute * 60_000), rules.address, minute * 60_000)
    expect(waitMs(count, rules.address, minute * 60_000)).toBe(0)
  }
})

test('a clock that is set back makes nobody wait longer than the delay', () => {
  let count: Count = { ...none, sinceMs: 10 * dayMs }
  for (let i = 0; i < 7; i++) count = failed(count, rules.pair, 10 * dayMs)
  expect(waitMs(leftOf(count, rules.pair, 0), rules.pair, 0)).toBe(4000)
})

test('what is taken back leaves what others have counted since', () => {
  const mine = failed({ ...none, failures: 5 }, rules.pair, 1000)
  expect(takenBack(mine, mine)).toEqual({ failures: 5, sinceMs: 0, nextAtMs: 0 })
  const others = failed(mine, rules.pair, 4000)
  expect(takenBack(others, mine)).toEqual({ ...others, failures: 6 })
})
