import type { Metrics } from '@/core/metrics'

export interface LinkMetrics {
  /** No answer in time, the connection lost before it, or an answer that says no. */
  timeout: { add(by?: number): void }
  lost: { add(by?: number): void }
  refused: { add(by?: number): void }
}

export function linkMetrics(metrics: Metrics): LinkMetrics {
  const failures = metrics.counter({
    name: 'bingo_queue_redis_failures_total',
    help: 'Calls of the task queue that Redis did not answer, by why; most are made again at once.',
    labels: ['why'],
  })
  return { timeout: failures.with({ why: 'timeout' }), lost: failures.with({ why: 'lost' }), refused: failures.with({ why: 'refused' }) }
}
