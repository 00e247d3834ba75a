import { afterEach, beforeEach, expect, jest, test } from 'bun:test'
import { type FakeLog, fakeLog } from '@/testing/fakes'
import { createStanding, Unusable } from './standing'

let log: FakeLog
beforeEach(() => {
  log = fakeLog()
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

const settled = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}
const lines = () => log.lines.map(({ level, message }) => [level, message])
const opened = (wrong: (thrown: unknown) => string | undefined = () => undefined) =>
  createStanding({ platform: 'discord', log, fault: undefined, wrong, retryAfterMs: () => 0 })

test('a token that is refused is said once, and tried again every five minutes, since it may be taken then', async () => {
  const standing = opened()
  let [attempts, isTaken] = [0, false]
  const service = standing.service(async (_, ready) => {
    attempts++
    if (!isTaken) throw new Unusable('set another token')
    ready()
  })
  await service.start()
  await settled()
  for (const expected of [2, 3]) {
    jest.advanceTimersByTime(298_000)
    await settled()
    expect(attempts).toBe(expected - 1)
    jest.advanceTimersByTime(3000)
    await settled()
    expect(attempts).toBe(expected)
  }
  expect(standing.state()).toEqual({ is: 'failed', why: 'set another token' })
  expect(lines()).toEqual([['error', 'Discord is off']])
  isTaken = true
  jest.advanceTimersByTime(301_000)
  await settled()
  expect(standing.state()).toEqual({ is: 'ready' })
  await service.stop()
})

test('a token that is refused while it is used ends what is under way, and is tried again', async () => {
  const standing = opened()
  const signals: AbortSignal[] = []
  const service = standing.service(async (signal, ready) => {
    signals.push(signal)
    ready()
  })
  await service.start()
  await settled()
  standing.refuse('set another token')
  await settled()
  expect([standing.state().is, signals.map(({ aborted }) => aborted), lines()]).toEqual(['failed', [true], [['error', 'Discord is off']]])
  jest.advanceTimersByTime(301_000)
  await settled()
  expect([standing.state().is, signals.length]).toEqual(['ready', 2])
  await service.stop()
})

test('what passes is a warning, once, and tried again soon; what is wrong is an error with what was thrown', async () => {
  const bug = new TypeError('undefined is not an object')
  const standing = opened(thrown => (thrown === bug ? 'a fault of ours' : undefined))
  const thrown = [new Error('away'), new Error('away'), bug]
  const service = standing.service(async () => {
    throw thrown.shift()
  })
  await service.start()
  await settled()
  expect(standing.state().is).toBe('starting')
  for (const ms of [1000, 2000]) {
    jest.advanceTimersByTime(ms)
    await settled()
  }
  expect(standing.state()).toEqual({ is: 'failed', why: 'a fault of ours' })
  expect(lines()).toEqual([
    ['warn', 'Discord is not ready, and is tried again'],
    ['error', 'Discord is off'],
  ])
  expect(log.lines.at(-1)?.fields).toMatchObject({ err: bug })
  await service.stop()
})
