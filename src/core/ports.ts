import type { Clock } from './clock'
import type { Config } from './config/settings'
import type { Database } from './database'
import type { Log } from './log'
import type { Mailer } from './mailer'
import type { Metrics } from './metrics'
import type { Passwords } from './passwords'
import type { Queue } from './queue/queue'
import type { Revocations } from './revocations'
import type { ScheduleAdmin } from './schedule/admin'
import type { Cipher } from './seal'
import type { Throttle } from './throttle'
import type { Tokens } from './tokens'
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
  throttle: Throttle
  tokens: Tokens
  revocations: Revocations
  /** Hides what tasks carry that is not for everybody who may look at them. */
  cipher: Cipher
  settings: ModuleSettings
}

/** What modules may know of the configuration: the sections that are rules of theirs, and hold no secret. */
export type ModuleSettings = Pick<Config, 'session' | 'account'> & { http: Pick<Config['http'], 'publicUrl'> }

export type PortName = keyof Ports
