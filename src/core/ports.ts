import type { Clock } from './clock'
import type { Database } from './database'
import type { Log } from './log'
import type { Mailer } from './mailer'
import type { Metrics } from './metrics'
import type { Passwords } from './passwords'
import type { Queue } from './queue/queue'
import type { ScheduleAdmin } from './schedule/admin'
import type { Upkeep } from './upkeep'

/**
 * The outside world, as modules see it. A module lists the ones it needs and gets only those; a process opens only what its
 * modules list. Adding a port: a line here, and one where `infra/ports.ts` opens it.
 */
export interface Ports {
  db: Database
  clock: Clock
  log: Log
  metrics: Metrics
  passwords: Passwords
  queue: Queue
  mailer: Mailer
  schedules: ScheduleAdmin
  upkeep: Upkeep
}

export type PortName = keyof Ports
