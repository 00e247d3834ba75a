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
  'src/testing/e2e/',
  'src/infra/',
  'src/testing/faults/queue/',
  'src/modules/',
  'src/testing/e2e/announcements.',
  'src/testing/e2e/schedules.',
  'src/infra/queue/driver.test.ts',
  'src/testing/e2e/task-command.',
  'src/infra/queue/redis/',
  'src/infra/schedule/',
  'src/infra/queue/',
  'src/infra/queue/redis/torn.',
  'src/testing/e2e/access-matrix.',
  'src/testing/faults/schedule/',
  'src/testing/e2e/telegram.',
  'src/testing/conformance/',
  'src/testing/e2e/hostile.',
  'src/testing/e2e/revocation.',
  'src/infra/database/replicas/',
  'src/infra/queue/worker/',
  'src/infra/schedule/service.',
  'src/testing/e2e/bot.',
  'src/testing/e2e/log-in-timing.',
  'src/testing/e2e/schedule-command.',
  'src/infra/cache/',
  'src/infra/database/',
  'src/infra/database/database.',
  'src/testing/faults/',
  'src/testing/e2e/housekeeping.',
  'src/testing/scheduler-guide.',
  'src/testing/e2e/concurrency.',
  'src/testing/e2e/user-export.',
  'src/testing/e2e/administrators.',
  'src/infra/queue/worker/heartbeat.',
  'src/testing/docs.',
  'src/testing/e2e/rpc-hostile.',
  'src/testing/e2e/slow-clients.',
  'src/testing/deploy/',
  'src/testing/e2e/swagger.',
  'src/infra/cron',
  'src/testing/make-migration.',
  'src/testing/e2e/welcome.',
  'src/testing/e2e/sessions.',
  'src/testing/e2e/canary.',
  'src/infra/redis.',
  'src/testing/queue-guide.',
  'src/testing/e2e/discord.',
  'src/testing/e2e/command-line.',
  'src/testing/e2e/lifecycle.',
  'src/infra/idempotency/',
  'src/testing/e2e/database-away.',
  'src/infra/throttle/',
  'src/infra/identity/',
  'src/testing/e2e/rpc-restarts.',
  'src/testing/e2e/reset-timing.',
  'src/testing/e2e/redis-away.',
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
