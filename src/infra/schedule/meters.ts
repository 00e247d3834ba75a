import type { Metrics } from '@/core/metrics'
import type { TickView } from '@/core/schedule/admin'

/** What is counted of ticks, over all schedules: their names would be too many series. */
export interface ScheduleMeters {
  ticks(what: TickView['what'], count: number): void
  /** How late a tick was fired that was not missed. */
  lateness(ms: number): void
  failed(): void
}

const latenessBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export function createScheduleMeters(metrics: Metrics): ScheduleMeters {
  const ticks = metrics.counter({
    name: 'bingo_schedule_ticks_total',
    help: 'Ticks of schedules, by what became of them.',
    labels: ['what'],
  })
  const lateness = metrics
    .histogram({
      name: 'bingo_schedule_lateness_seconds',
      help: 'How much later than its tick, without jitter, a task was enqueued.',
      buckets: latenessBuckets,
    })
    .with({})
  const failed = metrics.counter({ name: 'bingo_schedule_failures_total', help: 'Attempts to fire due schedules that failed.' }).with({})
  return {
    ticks: (what, count) => ticks.with({ what }).add(count),
    lateness: ms => lateness.observe(ms / 1000),
    failed: () => failed.add(),
  }
}
