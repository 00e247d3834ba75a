import { expect, test } from 'bun:test'
import { createBreaker } from './breaker'

function heldBreaker({ failuresMax = 3, random = 0 } = {}) {
  const held = { nowMs: 0, opened: 0 }
  const breaker = createBreaker({
    failuresMax,
    pauseMs: 1000,
    onOpen: () => void held.opened++,
    timing: { nowMs: () => held.nowMs, random: () => random },
  })
  const fail = (times: number) => {
    for (let i = 0; i < times; i++) breaker.failed()
  }
  return { held, breaker, fail }
}

test('it opens after so many failures in a row, and not when a success came between', () => {
  const { breaker, fail, held } = heldBreaker()
  fail(2)
  breaker.succeeded()
  fail(2)
  expect([breaker.state, breaker.allows(), held.opened]).toEqual(['closed', true, 0])
  fail(1)
  expect([breaker.state, breaker.allows(), held.opened]).toEqual(['open', false, 1])
})

test('after the pause one caller is let through, and its success closes it', () => {
  const { breaker, fail, held } = heldBreaker()
  fail(3)
  held.nowMs = 999
  expect(breaker.allows()).toBe(false)
  held.nowMs = 1000
  expect([breaker.allows(), breaker.allows(), breaker.allows()]).toEqual([true, false, false])
  expect(breaker.state).toBe('half-open')
  breaker.succeeded()
  expect([breaker.state, breaker.allows(), breaker.allows()]).toEqual(['closed', true, true])
})

test('a probe that fails opens it for another pause', () => {
  const { breaker, fail, held } = heldBreaker()
  fail(3)
  held.nowMs = 1000
  breaker.allows()
  fail(1)
  expect([breaker.state, breaker.allows(), held.opened]).toEqual(['open', false, 2])
  held.nowMs = 1999
  expect(breaker.allows()).toBe(false)
  held.nowMs = 2000
  expect(breaker.allows()).toBe(true)
})

test('the pause is up to a half shorter, so that processes do not come back all at once', () => {
  const { breaker, fail, held } = heldBreaker({ random: 0.999 })
  fail(3)
  held.nowMs = 499
  expect(breaker.allows()).toBe(false)
  held.nowMs = 502
  expect(breaker.allows()).toBe(true)
})

test('answers that were under way when it opened neither close it nor count again', () => {
  const { breaker, fail, held } = heldBreaker()
  fail(3)
  breaker.succeeded()
  fail(5)
  expect([breaker.state, held.opened]).toEqual(['open', 1])
})

test('where failures must be apart, those of one event do not open it', () => {
  const held = { nowMs: 0 }
  const timing = { nowMs: () => held.nowMs, random: () => 0 }
  const breaker = createBreaker({ failuresMax: 3, apartMs: 1000, pauseMs: 500, timing })
  for (let i = 0; i < 64; i++) breaker.failed()
  held.nowMs = 999
  breaker.failed()
  expect(breaker.state).toBe('closed')
  breaker.succeeded()
  held.nowMs = 1100
  for (let i = 0; i < 64; i++) breaker.failed()
  expect(breaker.state).toBe('closed')
  held.nowMs = 2100
  breaker.failed()
  expect(breaker.state).toBe('open')
})
