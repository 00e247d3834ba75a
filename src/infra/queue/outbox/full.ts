import { backoffMs } from '@/core/backoff'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Skip } from './rows'

/**
 * Queues that have as many tasks as they may have. What a relay has for them stays in the outbox, in its order and before what is enqueued
 * later, and is tried again now and then. Rows of other queues pass it, and so do those that another task waits for: without them the queue might stay full for ever.
 */
export interface FullQueues {
  /** It had no room. */
  refused(queue: string, count: number): void
  /** It has taken what it was given. */
  took(queue: string): void
  /** What is not to be taken now; undefined while no queue is full. */
  skip(): Skip | undefined
  /** Nothing but what `skip` has said was found: rows before this one need not be looked at again for now by whoever skips the same. */
  passed(nextSeq: number): void
  /** Until one is to be tried again; infinite when none is full. */
  nextMs(): number
}

const pausesMs = { min: 500, max: 5000 }
/**
 * Rows of other queues come to be before `fromSeq` after all: those that a relay had when it died, that were put back or are tried again, and
 * those of transactions that commit later than they began. So now and then all are looked at.
 */
const trustedMs = 2000

/** @param nowMs on a clock that is never set */
export function createFullQueues(log: Log, metrics: Metrics, nowMs: () => number = () => performance.now()): FullQueues {
  const counter = metrics.counter({
    name: 'bingo_outbox_full_total',
    help: 'Tasks for which a queue had no room when they were to be handed over; they are tried again.',
    labels: ['queue'],
  })
  const full = new Map<string, { times: number; untilMs: number }>()
  /** While the same are skipped, and for so long. */
  let known: Skip = { queues: [], fromSeq: 0 }
  let knownSinceMs = Number.NEGATIVE_INFINITY

  return {
    refused(queue, count) {
      const times = (full.get(queue)?.times ?? 0) + 1
      full.set(queue, { times, untilMs: nowMs() + backoffMs(pausesMs, times) })
      counter.with({ queue }).add(count)
      if (times === 1) log.warn('the queue is full; tasks of the outbox wait until it has room', { queue })
    },
    took(queue) {
      if (full.delete(queue)) log.info('the queue has room again', { queue })
    },
    skip() {
      const atMs = nowMs()
      const queues = [...full].filter(([, { untilMs }]) => untilMs > atMs).map(([queue]) => queue)
      if (queues.join() !== known.queues.join() || atMs - knownSinceMs > trustedMs) {
        known = { queues, fromSeq: 0 }
        knownSinceMs = atMs
      }
      return queues.length === 0 ? undefined : known
    },
    passed(nextSeq) {
      known = { ...known, fromSeq: nextSeq }
    },
    nextMs() {
      const atMs = nowMs()
      return Math.min(Number.POSITIVE_INFINITY, ...[...full.values()].map(({ untilMs }) => Math.max(0, untilMs - atMs)))
    },
  }
}
