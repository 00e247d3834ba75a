import type { ChatPlatforms } from './chat'
import type { Clock } from './clock'
import type { Commands } from './command'
import type { Config } from './config/settings'
import type { Database } from './database'
import type { Dependencies } from './dependencies'
import type { LiveSettings } from './live-settings'
import type { Log } from './log'
import type { Mailer } from './mailer'
import type { Metrics } from './metrics'
import type { Passwords } from './passwords'
import type { Permission } from './permission'
import type { Processes } from './processes'
import type { QueueAdmin, TaskIntake } from './queue/admin'
import type { Queue } from './queue/queue'
import type { Revocations } from './revocations'
import type { RpcClients } from './rpc'
import type { ScheduleAdmin } from './schedule/admin'
import type { Cipher } from './seal'
import type { Throttle } from './throttle'
import type { Tokens } from './tokens'
import type { Topic } from './topic'
import type { Totp } from './totp'
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
  /** What administrators, and whoever sits at the shell, do with queues and with the tasks in them. */
  queueAdmin: QueueAdmin & TaskIntake
  upkeep: Upkeep
  throttle: Throttle
  tokens: Tokens
  totp: Totp
  revocations: Revocations
  /** Hides what is kept where others may read it, and makes digests that nobody else can; say in the context what for. */
  cipher: Cipher
  /** All that any module of any role declares, in the order of their names. */
  permissions: readonly Permission[]
  /** All that any module of any role declares, in the order of their names. */
  topics: readonly Topic[]
  /** All processes that share the database. */
  processes: Processes
  dependencies: Dependencies
  rpc: RpcClients
  chat: ChatPlatforms
  commands: Commands
  /** Aborted when the servers of this process have stopped accepting: answers that go on without end must end then. */
  stopping: AbortSignal
  settings: ModuleSettings
  /** What administrators change while everything runs. */
  liveSettings: LiveSettings
}

/** What modules may know of the configuration: the sections that are rules of theirs, and hold no secret. */
export type ModuleSettings = Pick<Config, 'session' | 'account'> & {
  http: Pick<Config['http'], 'publicUrl'>
  admin: Pick<Config['admin'], 'secondFactor' | 'provenMs' | 'auditKeptMs'>
  auth: Pick<Config['auth'], 'issuer'>
}

export type PortName = keyof Ports
