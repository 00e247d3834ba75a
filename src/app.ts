import { opsPort } from '@/core/config/settings'
import {
  type AnyModule,
  auditsDeclared,
  buildModules,
  type FaceName,
  permissionsDeclared,
  portsNeeded,
  tablesDeclared,
  tasksDeclared,
} from '@/core/module'
import type { PortName, Ports } from '@/core/ports'
import { type Limit, limitsOf } from '@/core/queue/limit'
import type { Role } from '@/core/role'
import { type Cipher, createCipher } from '@/core/seal'
import { type Service, together } from '@/core/service'
import { type AllWorks, withConcurrency, worksOf } from '@/core/works'
import { type BuiltFaces, controllersOf, httpServer, type HttpSurroundings } from './http-faces'
import { rootKey } from './infra/auth-key'
import { createHealth, type ReadinessCheck } from './infra/http/health'
import { jwksRoutes } from './infra/http/jwks'
import { opsServer } from './infra/http/ops'
import type { ListeningService } from './infra/http/server'
import { idempotency } from './infra/idempotency/keys'
import { needsDatabase } from './infra/ports'
import { createWorker, graceMsOf, type WorkedQueue } from './infra/queue/worker'
import { claimLimitsOf } from './infra/queue/worker/claim-limits'
import { declaredSchedules } from './infra/schedule/declared'
import type { OpenSchedules } from './infra/schedule/open'

export interface Surroundings extends HttpSurroundings {
  /** The schedules, when some module or role needs them. */
  schedules?: OpenSchedules | undefined
}

/**
 * What a process runs, in the order of starting: the ops server first and stopped last, then what hands over tasks of transactions,
 * then a server for each face, what works the queues and what fires schedules, which are stopped together.
 */
export interface App {
  services: Service[]
  ops: ListeningService
  servers: Partial<Record<FaceName, ListeningService>>
  /** Queues that it works, and how many of their tasks at a time. */
  works: AllWorks
}

export const modulesOf = (roles: readonly Role[]): AnyModule[] => [...new Set(roles.flatMap(role => role.modules))]
export const tablesOf = (roles: readonly Role[]) => tablesDeclared(modulesOf(roles))
/** @param roles all that there are: what one administrator may do, any server may ask for */
export const permissionsOf = (roles: readonly Role[]) => permissionsDeclared(modulesOf(roles))
/** The actions that can be in the audit log. */
export const auditsOf = (roles: readonly Role[]) => auditsDeclared(modulesOf(roles))
export const tasksOf = (roles: readonly Role[]) => tasksDeclared(modulesOf(roles))
/** @param roles all that there are: what one enqueues another works */
export const queuesOf = (roles: readonly Role[]): string[] => Object.keys(worksOf(roles).queues)
/** What schedules may name: what the roles that fire them can enqueue. @param roles all that there are */
export const scheduledTasksOf = (roles: readonly Role[]) => tasksOf(roles.filter(({ firesSchedules }) => firesSchedules))
export function portsOf(roles: readonly Role[]): Set<PortName> {
  const needed = new Set([
    ...portsNeeded(modulesOf(roles)),
    ...(queuesOf(roles).length > 0 ? (['queue'] as const) : []),
    ...(roles.some(({ firesSchedules }) => firesSchedules) ? (['schedules'] as const) : []),
  ])
  // The level of the log is one of them, so whoever could know of it is to do so.
  return needsDatabase(needed) ? needed.add('liveSettings') : needed
}

/** Roles + ports → services. The one place where a face meets its server. */
export function createApp(roles: readonly Role[], ports: Ports, checks: readonly ReadinessCheck[], surroundings: Surroundings): App {
  const { config, log, metrics, readiness, version, queue, schedules, identities, liveSettings, allRoles } = surroundings
  const works = withConcurrency(worksOf(roles), worksOf(allRoles), config.queue.concurrency)
  const limits = limitsOf(tasksOf(allRoles))
  const health = createHealth(readiness, checks, log)
  const ops = opsServer(
    { host: config.ops.host, port: opsPort(config, roles[0]?.name ?? ''), setting: 'ops.port' },
    { health, metrics, log, version: { version, roles: roles.map(role => role.name) } },
  )
  const faces = buildModules(modulesOf(roles), ports)
  const servers: App['servers'] = {}
  const keys = keysOf(roles, ports, surroundings)
  for (const role of roles) {
    for (const face of role.serves) {
      // The public keys of its tokens stand beside the API, outside its prefix.
      const more = face === 'api' && ports.tokens ? [jwksRoutes(ports.tokens)] : []
      servers[face] ??= httpServer({
        ...{ face, controllers: controllersOf(face, role, faces), identifiers: identifiersOf(face, role, faces) },
        ...{ more, health, surroundings, keys, denials: denialsOf(face, role, faces) },
      })
    }
  }
  const declared = declaredSchedules({ faces, tasks: tasksOf(roles), roles, allRoles, payloadMaxBytes: config.queue.payloadMaxBytes })
  const firing = schedules && roles.some(({ firesSchedules }) => firesSchedules) ? [schedules.firing(declared)] : []
  const busy = [...Object.values(servers), ...firing]
  const told = new Set(roles.flatMap(role => role.serves.flatMap(face => denialsOf(face, role, faces))))
  const settling = {
    name: 'denials',
    start: async () => {},
    stop: async () => void (await Promise.all([...told].map(each => each.settle()))),
  }
  const watches = liveSettings !== undefined || Object.keys(servers).length > 0
  const watching = [...(liveSettings ? [liveSettings.service] : []), ...(identities && watches ? [identities.watch] : []), settling]
  if (!queue || Object.keys(works.queues).length === 0) return { services: [ops, ...watching, together(busy)], ops, servers, works }
  const relays = queue.relay ? [queue.relay] : []
  const handlers = roles.filter(role => role.works).flatMap(role => role.modules.flatMap(module => faces.get(module)?.tasks ?? []))
  const working = createWorker({
    driver: queue.driver,
    queues: workedQueues(roles, works, limits),
    pools: works.pools,
    handlers: [...new Set(handlers)],
    leaseMs: config.queue.leaseMs,
    graceMs: graceMsOf(config.shutdown.deadlineMs),
    heartbeats: { config },
    log,
    metrics,
  })
  return { services: [ops, ...watching, ...relays, together([...busy, working])], ops, servers, works }
}

const workedQueues = (roles: readonly Role[], { queues }: AllWorks, limits: readonly Limit[]): Record<string, WorkedQueue> =>
  Object.fromEntries(
    Object.entries(queues).map(([queue, rule]) => {
      const claimLimits = claimLimitsOf(rule, limits)
      return [queue, { ...rule, ...(claimLimits && { claimLimits }), middleware: middlewareOf(roles, queue) }]
    }),
  )

/** Around each attempt of a queue: what the roles that work it say, each once. */
const middlewareOf = (roles: readonly Role[], queue: string) => [
  ...new Set(roles.flatMap(({ works = {}, middleware = [] }) => (Object.hasOwn(works, queue) ? middleware : []))),
]

const denialsOf = (face: FaceName, role: Role, faces: BuiltFaces) =>
  role.modules.flatMap(module => faces.get(module)?.denials?.[face] ?? [])
const identifiersOf = (face: FaceName, role: Role, faces: BuiltFaces) =>
  role.modules.flatMap(module => faces.get(module)?.identifiers?.[face] ?? [])

/** Requests that must take effect once only need the database, and the key that their answers are encrypted with. */
function keysOf(roles: readonly Role[], { db }: Ports, { config, log, metrics }: Surroundings) {
  if (!db || roles.every(({ serves }) => serves.length === 0)) return undefined
  let cipher: Cipher | undefined
  return idempotency({ db, cipher: () => (cipher ??= createCipher(rootKey(config), 'idempotent-request')), log, metrics })
}
