import type { Metrics } from '@/core/metrics'
import type { Finish } from '../driver'

/** How the work of one queue goes. Tasks that no module declares are counted together, as `unknown`, since anybody may name one. */
export interface QueueMeters {
  ofTask(task: string): TaskMeters
  leaseLost: Series
  /** What was said of an attempt too late: it was somebody else's by then. */
  stale: Series
  away: Series
  refused: Series
  reaped: Series
  poisoned: Series
  /** What was kept, and removed when its time was over. */
  expired: Readonly<Record<'done' | 'dead', Series>>
}

export interface TaskMeters {
  ended: Readonly<Record<Finish['outcome'], Series>>
  seconds: Timing
  waitSeconds: Timing
}

interface Series {
  add(by?: number): void
}
interface Timing {
  observe(value: number): void
}

const outcomes = ['done', 'retry', 'snooze', 'dead', 'cancelled', 'release'] as const satisfies readonly Finish['outcome'][]
const secondsBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 3600]

export function queueMeters(metrics: Metrics, queue: string): QueueMeters {
  const labels = ['queue'] as const
  const count = (name: string, help: string) => metrics.counter({ name, help, labels }).with({ queue })
  const attempts = metrics.counter({
    name: 'bingo_task_attempts_total',
    help: 'Attempts by how they ended.',
    labels: ['queue', 'task', 'outcome'],
  })
  const seconds = metrics.histogram({
    name: 'bingo_task_duration_seconds',
    help: 'How long attempts took.',
    labels: ['queue', 'task'],
    buckets: secondsBuckets,
  })
  const waitSeconds = metrics.histogram({
    name: 'bingo_task_wait_seconds',
    help: 'From when a task was enqueued to its first start, with the delay that was asked for.',
    labels: ['queue', 'task'],
    buckets: secondsBuckets,
  })
  const expired = metrics.counter({
    name: 'bingo_task_expired_total',
    help: 'Tasks that were kept, and removed when their time was over.',
    labels: ['queue', 'state'],
  })
  return {
    // A process knows more tasks than ever come by a queue of it, and each has many series.
    ofTask: task => ({
      ended: Object.fromEntries(
        outcomes.map(outcome => [outcome, countedOnUse(() => attempts.with({ queue, task, outcome }))]),
      ) as TaskMeters['ended'],
      seconds: observedOnUse(() => seconds.with({ queue, task })),
      waitSeconds: observedOnUse(() => waitSeconds.with({ queue, task })),
    }),
    leaseLost: count(
      'bingo_task_leases_lost_total',
      'Attempts that were ended since the queue gave, or may have given, their task to others.',
    ),
    stale: count('bingo_task_stale_total', 'Attempts that ended when their task was somebody else’s already.'),
    away: count('bingo_queue_away_total', 'Calls of the worker that the queue did not answer; they are made again.'),
    refused: count('bingo_queue_refused_total', 'Calls of the worker that the queue refused; they are not made again.'),
    reaped: count('bingo_task_reaped_total', 'Tasks taken back from workers that were not heard of any more.'),
    poisoned: count('bingo_task_poisoned_total', 'Tasks that became dead letters since no worker survived them.'),
    expired: {
      done: countedOnUse(() => expired.with({ queue, state: 'done' })),
      dead: countedOnUse(() => expired.with({ queue, state: 'dead' })),
    },
  }
}

/** A series that is there from its first count on. */
function countedOnUse(make: () => Series): Series {
  let made: Series | undefined
  return {
    add(by) {
      made ??= make()
      made.add(by)
    },
  }
}

function observedOnUse(make: () => Timing): Timing {
  let made: Timing | undefined
  return {
    observe(value) {
      made ??= make()
      made.observe(value)
    },
  }
}
