import { expect, test } from 'bun:test'
import { defineErrors } from '@/core/error'
import { handle } from '@/core/queue/task'
import { numbered } from '@/testing/numbered'
import { failed, retryDelayMs } from './outcome'
import { newRun } from './run'

const errors = defineErrors({ Gone: ['NotFound', 'It is not there.'] })
const meters = { ended: {} as never, seconds: { observe: () => {} }, waitSeconds: { observe: () => {} } }

const run = () =>
  newRun(
    { id: 'a', attempt: 1, failures: 0, crashes: 0, envelope: '' },
    {
      queue: 'q',
      skill: { ...handle(numbered(), async () => {}), meters },
      envelope: { task: 'number.count', payload: { n: 1 }, isGroup: false, enqueuedAtMs: 0, headers: {}, said: {} },
      batch: { nonce: 'nonce', left: 1 },
      deadlineAtMs: Number.POSITIVE_INFINITY,
      leaseFromMs: 0,
    },
  )

test('waits grow by their factor up to the most, and differ by up to a fifth', () => {
  const backoff = { minMs: 1000, maxMs: 60_000, factor: 3 }
  const waits = (random: number) => [1, 2, 3, 4, 5, 1000].map(n => retryDelayMs(backoff, n, () => random))
  expect(waits(0.5)).toEqual([1000, 3000, 9000, 27_000, 60_000, 60_000])
  expect(waits(0)).toEqual([800, 2400, 7200, 21_600, 48_000, 48_000])
  expect(retryDelayMs(backoff, 1, () => 0.999_999)).toBe(1200)
  expect(retryDelayMs({ minMs: 0, maxMs: 0, factor: 10 }, 1000, () => 0.5)).toBe(0)
})

test('what was thrown is said in 1,000 characters, and nothing that can be thrown is too odd', () => {
  const said = (thrown: unknown) => {
    const { finish } = failed(run(), thrown, () => 0.5)
    return finish.outcome === 'retry' ? finish.error : undefined
  }
  expect(said(new RangeError('too far'))).toBe('RangeError: too far')
  expect(said(errors.Gone())).toBe('NotFound.Gone: It is not there.')
  expect(said('a text')).toBe('thrown: a text')
  expect(said(undefined)).toBe('thrown: undefined')
  expect(said(Object.create(null))).toBe('thrown: something without a text')
  expect(said(new Error('x'.repeat(5000)))).toHaveLength(1000)
  // A character of two halves, cut in the middle.
  expect(said(new Error(`${'x'.repeat(992)}😀`))?.isWellFormed()).toBe(true)
})
