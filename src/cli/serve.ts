import { roles as allRoles } from '@roles'
import { createApp, permissionsOf, portsOf, scheduledTasksOf, tablesOf, tasksOf, topicsOf } from '@/app'
import { httpFaces, httpFacesOf } from '@/http-faces'
import { masked } from '@/core/config/describe'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { refuseIdleTasks, type Role } from '@/core/role'
import { Readiness, runServices, type Service } from '@/core/service'
import { poolOf, worksOf } from '@/core/works'
import type { ReadinessCheck } from '@/infra/http/health'
import { isEmbedded } from '@/infra/database/open'
import { migrateUp, needsMigrating } from '@/infra/database/migrate'
import { drift } from '@/infra/database/migrate/drift'
import { type MigrationProgress, progressLine } from '@/infra/database/migrate/progress'
import { createLog } from '@/infra/log'
import { mailFolder } from '@/infra/mail/open'
import { openRateLimits } from '@/infra/limit/open'
import { createMetrics } from '@/infra/metrics'
import { type OpenPorts, openPorts } from '@/infra/ports'
import { logStrayRejections } from '@/infra/stray-rejections'
import { migrations } from '@/migrations'
import { firstAdministrator } from './administrators'
import type { Arguments } from './arguments'
import { configOf } from './command'
import { refuseOldTables, withMigrationDatabase } from './migrate'
import { rolesNamed } from './roles'
import { version } from './version'

/** Runs roles until a signal. @returns the exit code */
export async function serve(args: Arguments): Promise<number> {
  const { config } = configOf(args)
  const roles = rolesNamed(config.role ?? '')
  refuseIdleTasks(allRoles)
  const names = roles.map(role => role.name)
  const log = createLog(config.log, { role: names.join(','), version })
  logStrayRejections(log)
  const metrics = createMetrics({ version, roles: names })
  const readiness = new Readiness()
  const stop = stopOnSignals()

  const works = worksOf(allRoles)
  const declared = {
    tasks: tasksOf(roles),
    queues: Object.keys(works.queues),
    rules: works.queues,
    scheduledTasks: scheduledTasksOf(allRoles),
    allTasks: tasksOf(allRoles),
    permissions: permissionsOf(allRoles),
    topics: topicsOf(allRoles),
    process: { roles: names, version, roleNames: allRoles.map(({ name }) => name) },
  }
  const opened = await openPorts(config, portsOf(roles), { log, metrics, ...declared })
  try {
    await bringUpToDate(config, opened, args.switches.has('migrate'), { log, metrics })
    const { queue, schedules, identities, liveSettings, redis, registry, stopping, rpc, offerCommands } = opened
    liveSettings?.follow(({ logLevel }) => log.setLevel(logLevel))
    const serves = roles.some(role => role.serves.length > 0)
    const limits = serves ? await openRateLimits(config, { redis, log, metrics }) : undefined
    const surroundings = {
      config,
      log,
      metrics,
      readiness,
      version,
      queue,
      schedules,
      identities,
      liveSettings,
      limits,
      allRoles,
      stopping,
      rpc,
      offerCommands,
    }
    const app = createApp(roles, opened.ports, checksOf(roles, opened), surroundings)
    const announcement: Service = {
      name: 'announcement',
      start: async () => announce(roles, config, app, log),
      stop: async () => {},
    }
    const services = [
      backings(opened),
      ...(registry ? [registry.beating] : []),
      ...app.services,
      announcement,
      firstAdministrator(roles, opened.ports, log, hasBanner(config)),
      driftService(opened, roles, log),
    ]
    const late = await runServices(services, readiness, config.shutdown, stop, log)
    if (late.length > 0) {
      log.error('stopped before all was finished', { services: late, deadlineMs: config.shutdown.deadlineMs })
      return 1
    }
    log.info('stopped')
    return 0
  } finally {
    await log.close()
  }
}

/**
 * What the next request needs. A server of requests goes on without Redis, since the outbox keeps what it enqueues; a process that
 * only works queues cannot.
 */
function checksOf(roles: readonly Role[], { db, queue }: OpenPorts): ReadinessCheck[] {
  const worksOnly = roles.some(role => role.works) && roles.every(role => role.serves.length === 0)
  return [
    ...(db ? [{ name: 'database', check: db.ping }] : []),
    ...(queue && worksOnly ? [{ name: 'queue', check: () => queue.driver.ping() }] : []),
  ]
}

/** Opened before anything starts, closed after everything else: within the same deadline, since a server may not answer any more. */
const backings = ({ close }: OpenPorts): Service => ({ name: 'database', start: async () => {}, stop: close })

/** How many differences are said; the first tell whoever reads them what has happened. */
const differencesMax = 20

/** Looks, once everything is up, whether the tables are as declared. Nothing waits for it, and it stops nothing. */
function driftService({ db }: OpenPorts, roles: readonly Role[], log: Log): Service {
  const look = async (database: Database) => {
    try {
      const found = await drift(database, tablesOf(roles))
      if (found.length > 0) log.warn('the tables are not as declared', { count: found.length, differences: found.slice(0, differencesMax) })
    } catch (thrown) {
      log.warn('the tables could not be compared with what is declared', { err: thrown })
    }
  }
  return {
    name: 'drift',
    start: async () => {
      if (db) void look(db)
    },
    // Closing the database waits for its queries.
    stop: async () => {},
  }
}

/** A signal that comes so soon after the first is the same one: Ctrl-C reaches it from the terminal, and from what has started it. */
const sameSignalMs = 1000

/** Aborts on the first SIGINT or SIGTERM; a second one ends the process at once. */
function stopOnSignals(): AbortSignal {
  const stop = new AbortController()
  let firstMs = 0
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!stop.signal.aborted) {
        firstMs = performance.now()
        stop.abort(signal)
      } else if (performance.now() - firstMs > sameSignalMs) process.exit(1)
    })
  }
  return stop.signal
}

/** An embedded database is brought up to date by whoever opens it; a server's only when asked, since others may be using it. */
async function bringUpToDate(
  config: Config,
  { db }: OpenPorts,
  migrate: boolean,
  { log, metrics }: { log: Log; metrics: Metrics },
): Promise<void> {
  if (!db) return
  if (isEmbedded(config) || migrate) {
    if (!(await needsMigrating(db, migrations))) return
    // A first start on SQLite has done them all before anybody could read of one; a server may take an hour for one.
    const progress = (event: MigrationProgress) => log[isEmbedded(config) ? 'debug' : 'info'](progressLine(event))
    const applied = await withMigrationDatabase(config, { log, metrics }, wide => migrateUp(wide, migrations, { progress }))
    if (applied.length > 0) log.info('migrated', { applied })
    return
  }
  await refuseOldTables(db)
}

/** Whether there is text for people. */
const hasBanner = (config: Config): boolean => process.stderr.isTTY || isEmbedded(config)

type RunningApp = ReturnType<typeof createApp>

/** Says where everything is: one log line a role, and text for people at a terminal or who start it embedded. */
function announce(roles: readonly Role[], config: Config, { ops, servers, works }: RunningApp, log: Log): void {
  for (const role of roles) {
    const listens = role.serves.flatMap(face => servers[face]?.url ?? [])
    const queues = Object.keys(role.works ?? {})
    const worked = queues.map(queue => `${queue} (${slotsSaid(works, queue)})`)
    const says = [
      ...listens.map(url => `serves ${url}`),
      ...(role.firesSchedules ? ['fires schedules'] : []),
      ...(worked.length > 0 ? [`works the queues ${worked.join(', ')}`] : []),
    ]
    const what = says.length > 0 ? says.join(', ') : 'has no work yet besides health and metrics'
    log.info(`${role.name} ${what}`, { listens, ...(queues.length > 0 && { queues }), ops: ops.url })
  }
  if (!hasBanner(config)) return
  const pages = roles.flatMap(role =>
    httpFacesOf(role)
      .filter(face => httpFaces[face].title)
      .map(face => [`${httpFaces[face].title}`, `${servers[face]?.url}/swagger`]),
  )
  const queues = Object.keys(works.queues)
  const lines = [
    ...pages,
    ...(servers.rpc ? [['gRPC', new URL(servers.rpc.url).host]] : []),
    ['health', `${ops.url}/readyz?verbose`],
    ['data', String(masked(config.database.url))],
    ...(portsOf(roles).has('mailer')
      ? [['mail', config.mail.url === undefined ? mailFolder(config) : String(masked(config.mail.url))]]
      : []),
    ...(queues.length > 0 ? [['queues', queues.join(', ')]] : []),
  ]
  const width = Math.max(...lines.map(([name = '']) => name.length))
  console.error(
    `\nbingo ${version}: ${roles.map(role => role.name).join(', ')}\n\n${lines.map(([name = '', where]) => `  ${name.padEnd(width)}  ${where}`).join('\n')}\n\nCtrl-C stops it.\n`,
  )
}

function slotsSaid({ queues, pools }: RunningApp['works'], queue: string): string {
  const slots = queues[queue]
  const pool = slots && poolOf(slots)
  return pool === undefined
    ? `${slots && 'concurrency' in slots ? slots.concurrency : 0} at a time`
    : `${pools[pool]?.concurrency} at a time with all of ${pool}`
}
