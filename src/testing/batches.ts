import { dirname } from 'node:path'

/** Tests that one process runs one after another. */
export interface Batch {
  name: string
  paths: string[]
}

/**
 * What takes long by itself or with its folder, the longest first, so that nothing of it is left at the end: each begins a batch of what is named like it.
 * Everything else is in a batch with its folder. A file that is not named runs, too.
 */
const longFirst = [
  'src/infra/queue/driver.test.ts',
  'src/testing/faults/queue/',
  'src/testing/e2e/schedules.',
  'src/testing/e2e/task-command.',
  'src/testing/faults/schedule/',
  'src/testing/conformance/',
  'src/infra/schedule/service.',
  'src/testing/e2e/concurrency.',
  'src/testing/e2e/user-export.',
  'src/testing/e2e/revocation.',
  'src/infra/database/database.',
  'src/infra/queue/redis/torn.',
  'src/infra/database/',
  'src/testing/e2e/',
  'src/testing/e2e/hostile.',
  'src/testing/e2e/welcome.',
  'src/infra/database/replicas/',
  'src/infra/queue/redis/',
  'src/testing/faults/',
  'src/testing/e2e/housekeeping.',
  'src/testing/e2e/log-in-timing.',
  'src/testing/e2e/reset-timing.',
  'src/testing/e2e/access-matrix.',
  'src/testing/e2e/command-line.',
  'src/testing/e2e/schedule-command.',
  'src/testing/scheduler-guide.',
  'src/testing/queue-guide.',
  'src/testing/docs.',
  'src/testing/make-migration.',
  'src/infra/queue/worker/heartbeat.',
  'src/testing/e2e/slow-clients.',
  'src/infra/queue/worker/',
  'src/infra/schedule/',
  'src/infra/cron',
  'src/infra/queue/',
  'src/infra/cache/',
  'src/modules/',
  'src/infra/',
  'src/testing/e2e/administrators.',
  'src/testing/e2e/canary.',
  'src/testing/e2e/lifecycle.',
  'src/testing/e2e/sessions.',
  'src/testing/e2e/database-away.',
  'src/testing/e2e/redis-away.',
  'src/testing/e2e/swagger.',
  'src/testing/deploy/',
  'src/infra/throttle/',
  'src/infra/idempotency/',
  'src/infra/redis.',
  'src/infra/identity/',
  'src/testing/store-guide.',
]

/** @param paths of files of tests, from the root */
export function batchesOf(paths: readonly string[]): Batch[] {
  const of = (path: string): string => {
    const named = longFirst.filter(prefix => path.startsWith(prefix)).toSorted((a, b) => b.length - a.length)
    return named[0] ?? dirname(path).split('/').slice(0, foldersMax(path)).join('/')
  }
  const rank = (name: string): number => (longFirst.includes(name) ? longFirst.indexOf(name) : longFirst.length)
  return [...Map.groupBy(paths.toSorted(), of)].map(([name, paths]) => ({ name, paths })).toSorted((a, b) => rank(a.name) - rank(b.name))
}

/** What is small is in one batch with what stands beside it: all of `src/modules`, but each folder of `src/testing` for itself. */
const foldersMax = (path: string): number => (path.startsWith('src/testing/') ? 3 : 2)
