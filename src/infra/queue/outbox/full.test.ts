import { beforeEach, expect, test } from 'bun:test'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { createFullQueues, type FullQueues } from './full'

let atMs: number
let full: FullQueues
beforeEach(() => {
  atMs = 1000
  full = createFullQueues(fakeLog(), fakeMetrics(), () => atMs)
})
/** As a relay that has been refused until the pauses are their longest, and has just been again. */
function refusedOften(...queues: string[]): void {
  for (let i = 0; i < 10; i++) for (const queue of queues) full.refused(queue, 1)
}

test('rows that were passed are not looked at again while the same queues are full', () => {
  expect(full.skip()).toBeUndefined()
  refusedOften('mail')
  expect(full.skip()).toEqual({ queues: ['mail'], fromSeq: 0 })
  full.passed(900)
  atMs += 1000
  expect(full.skip()).toEqual({ queues: ['mail'], fromSeq: 900 })
  refusedOften('more')
  expect(full.skip()).toEqual({ queues: ['mail', 'more'], fromSeq: 0 })
})

test('they are when no queue was skipped in between', () => {
  full.refused('mail', 1)
  full.skip()
  full.passed(900)
  atMs += full.nextMs() + 1
  expect(full.skip()).toBeUndefined()
  full.refused('mail', 1)
  expect(full.skip()).toEqual({ queues: ['mail'], fromSeq: 0 })
})

test('and every two seconds, however many have been passed since', () => {
  refusedOften('mail')
  full.skip()
  for (let i = 0; i < 4; i++) {
    atMs += 500
    full.passed(900 + i)
    expect(full.skip()?.fromSeq).toBe(900 + i)
  }
  atMs += 1
  expect(full.skip()).toEqual({ queues: ['mail'], fromSeq: 0 })
})
