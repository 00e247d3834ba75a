import type { ChatPlatform } from '@/core/chat'
import type { AnyCommand } from '@/core/command'
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
  topicsDeclared,
} from '@/core/module'
import { StartError } from '@/core/error'
import type { Log } from '@/core/log'
import type { PortName, Ports } from '@/core/ports'
import { type Limit, limitsOf } from '@/core/queue/limit'
import type { Role } from '@/core/role'
import { type Cipher, createCipher } from '@/core/seal'
import { type Service, together } from '@/core/service'
import { type AllWorks, withConcurrency, worksOf } from '@/core/works'
import { type BuiltFaces, controllersOf, httpFacesOf, httpServer, type HttpSurroundings } from './http-faces'
import { rootKey } from './infra/auth-key'
import { stateLines, tellingStates } from './infra/chat/states'
import { createHealth, type ReadinessCheck } from './infra/http/health'
import { jwksRoutes } from './infra/http/jwks'
import { opsServer } from './infra/http/ops'
import type { ListeningService } from './infra/http/server'
import { idempotency } from './infra/idempotency/keys'
import { needsDatabase, type OpenPorts } from './infra/ports'
import { createWorker, graceMsOf, type WorkedQueue } from './infra/queue/worker'
import { claimLimitsOf } from './infra/queue/worker/claim-limits'
import type { OpenRpcClients } from './infra/rpc/open'
import { rpcServer } from './infra/rpc/server'
import { declaredSchedules } from './infra/schedule/declared'
import type { OpenSchedules } from './infra/schedule/open'

export interface Surroundings extends HttpSurroundings {
  /** The schedules, when some module or role needs them. */
  schedules?: OpenSchedules | undefined
  /** Services of other processes, when some module calls any. */
  rpc?: OpenRpcClients | undefined
  offerCommands?: OpenPorts['offerCommands'] | undefined
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
/** @param roles all that there are: what one sends to, people subscribe to by another */
export const topicsOf = (roles: readonly Role[]) => topicsDeclared(modulesOf(roles))
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
  const platforms = roles.some(({ serves }) => serves.includes('bot')) ? (ports.chat?.all ?? []) : []
  const health = createHealth(readiness, checks, log, () => stateLines(platforms))
  const ops = opsServer(
    { host: config.ops.host, port: opsPort(config, roles[0]?.name ?? ''), setting: 'ops.port' },
    { health, metrics, log, version: { version, roles: roles.map(role => role.name) } },
  )
  const faces = buildModules(modulesOf(roles), ports)
  const servers: App['servers'] = {}
  const keys = keysOf(roles, ports, surroundings)
  for (const role of roles) {
    for (const face of httpFacesOf(role)) {
      // The public keys of its tokens stand beside the API, outside its prefix.
      const more = face === 'api' && ports.tokens ? [jwksRoutes(ports.tokens)] : []
      servers[face] ??= httpServer({
        ...{ face, controllers: controllersOf(face, role, faces), identifiers: identifiersOf(face, role, faces) },
        ...{ more, health, surroundings, keys, denials: denialsOf(face, role, faces) },
      })
    }
  }
  const rpcRole = roles.find(({ serves }) => serves.includes('rpc'))
  if (rpcRole) {
    const services = rpcRole.modules.flatMap(module => faces.get(module)?.rpc ?? [])
    const recognizer = identities?.recognizer(identifiersOf('rpc', rpcRole, faces))
    servers.rpc = rpcServer(services, {
      ...{ config, log, metrics, readiness, health, recognizer, limits: surroundings.limits, stopping: surroundings.stopping },
      // Closed for maintenance is what the API is, by whatever way it is called.
      ...{ liveSettings: liveSettings?.liveSettings, denials: denialsOf('rpc', rpcRole, faces) },
    })
    surroundings.rpc?.serveHere(services)
  }
  const declared = declaredSchedules({ faces, tasks: tasksOf(roles), roles, allRoles, payloadMaxBytes: config.queue.payloadMaxBytes })
  const firing = schedules && roles.some(({ firesSchedules }) => firesSchedules) ? [schedules.firing(declared)] : []
  surroundings.offerCommands?.(commandsOf(roles, faces))
  const busy = [...Object.values(servers), ...chatServices(roles, platforms, faces, log), ...firing]
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

/** What people can do with the bot, in the order of the names: what the modules of the roles that serve it offer. */
export function commandsOf(roles: readonly Role[], faces: BuiltFaces): AnyCommand[] {
  const modules = [...new Set(roles.filter(({ serves }) => serves.includes('bot')).flatMap(role => role.modules))]
  const all = modules.flatMap(module => (faces.get(module)?.commands ?? []).map(command => ({ module, command })))
  for (const [name, same] of Map.groupBy(all, ({ command }) => command.name))
    if (same.length > 1)
      throw new StartError(
        `the modules ${same.map(({ module }) => module.name).join(' and ')} both have a command /${name}; leave it to one`,
      )
  return all.map(({ command }) => command).toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** What asks chat platforms for what comes in, and tells them the commands. */
function chatServices(roles: readonly Role[], platforms: readonly ChatPlatform[], faces: BuiltFaces, log: Log): Service[] {
  const [receiver] = roles
    .filter(({ serves }) => serves.includes('bot'))
    .flatMap(({ modules }) => modules.flatMap(module => faces.get(module)?.chat ?? []))
  return receiver ? [tellingStates(platforms, log), ...platforms.map(platform => platform.service(receiver))] : []
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
