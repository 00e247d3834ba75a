import { type Config, opsPort } from '@/core/config/settings'
import type { Controller } from '@/core/controller'
import { StartError } from '@/core/error'
import type { Identifier } from '@/core/identity'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { type AnyModule, buildModules, type FaceName, type Faces, portsNeeded, tablesDeclared, tasksDeclared } from '@/core/module'
import type { PortName, Ports } from '@/core/ports'
import type { RateLimits } from '@/core/rate-limit'
import { type Limit, limitsOf } from '@/core/queue/limit'
import type { Role } from '@/core/role'
import { type Cipher, createCipher } from '@/core/seal'
import { type Readiness, type Service, together } from '@/core/service'
import { type AllWorks, withConcurrency, worksOf } from '@/core/works'
import { rootKey } from './infra/auth-key'
import { httpApp } from './infra/http/app'
import { closedRoutes } from './infra/http/routes'
import { docsRoutes, type OpenApiDocument, openApiDocument } from './infra/http/docs'
import { createHealth, type Health, type ReadinessCheck } from './infra/http/health'
import { jwksRoutes } from './infra/http/jwks'
import { opsServer } from './infra/http/ops'
import { lastResort } from './infra/http/problem'
import { idempotency } from './infra/idempotency/keys'
import type { OpenIdentities } from './infra/identity/open'
import type { OpenQueue } from './infra/queue/open'
import { declaredSchedules } from './infra/schedule/declared'
import type { OpenSchedules } from './infra/schedule/open'
import { createWorker, graceMsOf, type WorkedQueue } from './infra/queue/worker'
import { claimLimitsOf } from './infra/queue/worker/claim-limits'
import { bunBodyLimitBytes, idleTimeoutSeconds, type ListeningService, type ListenOptions, listeningService } from './infra/http/server'

/** The HTTP face of a role: where it listens, what its paths begin with, and whether it documents itself. */
interface HttpFace {
  prefix: string
  listen(config: Config): ListenOptions
  title?: string
  /** Its document is for those alone who may log in to it. */
  areDocsClosed?: true
}

export const httpFaces: Record<FaceName, HttpFace> = {
  api: {
    prefix: '/api/v1',
    title: 'bingo API',
    listen: ({ http }) => ({ host: http.host, port: http.port, setting: 'http.port' }),
  },
  admin: {
    prefix: '/admin/v1',
    title: 'bingo admin API',
    listen: ({ admin }) => ({ host: admin.host, port: admin.port, setting: 'admin.port' }),
    areDocsClosed: true,
  },
  bot: {
    prefix: '/bot',
    listen: ({ http, bot }) => ({ host: http.host, port: bot.port, setting: 'bot.port' }),
  },
}

export interface Surroundings {
  config: Config
  log: Log
  metrics: Metrics
  readiness: Readiness
  version: string
  /** The queue that was opened, when some module or role needs one. */
  queue?: OpenQueue | undefined
  /** The schedules, when some module or role needs them. */
  schedules?: OpenSchedules | undefined
  /** Whom this process knows, when some module recognizes callers. */
  identities?: OpenIdentities | undefined
  /** How many requests each caller may make, over all servers of the installation. */
  limits?: RateLimits | undefined
  /** All that there are, whether this process runs them or not: queues and limits are the same for all. */
  allRoles: readonly Role[]
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
export const tasksOf = (roles: readonly Role[]) => tasksDeclared(modulesOf(roles))
/** @param roles all that there are: what one enqueues another works */
export const queuesOf = (roles: readonly Role[]): string[] => Object.keys(worksOf(roles).queues)
/** What schedules may name: what the roles that fire them can enqueue. @param roles all that there are */
export const scheduledTasksOf = (roles: readonly Role[]) => tasksOf(roles.filter(({ firesSchedules }) => firesSchedules))
export const portsOf = (roles: readonly Role[]): Set<PortName> =>
  new Set([
    ...portsNeeded(modulesOf(roles)),
    ...(queuesOf(roles).length > 0 ? (['queue'] as const) : []),
    ...(roles.some(({ firesSchedules }) => firesSchedules) ? (['schedules'] as const) : []),
  ])

/** Roles + ports → services. The one place where a face meets its server. */
export function createApp(roles: readonly Role[], ports: Ports, checks: readonly ReadinessCheck[], surroundings: Surroundings): App {
  const { config, log, metrics, readiness, version, queue, schedules, identities, allRoles } = surroundings
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
      servers[face] ??= httpServer(
        face,
        controllersOf(face, role, faces),
        identifiersOf(face, role, faces),
        more,
        health,
        surroundings,
        keys,
      )
    }
  }
  const declared = declaredSchedules({ faces, tasks: tasksOf(roles), roles, allRoles, payloadMaxBytes: config.queue.payloadMaxBytes })
  const firing = schedules && roles.some(({ firesSchedules }) => firesSchedules) ? [schedules.firing(declared)] : []
  const busy = [...Object.values(servers), ...firing]
  const watching = identities && Object.keys(servers).length > 0 ? [identities.watch] : []
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

type BuiltFaces = ReadonlyMap<AnyModule, Faces>
/** The controllers of a role's modules under one face. */
const controllersOf = (face: FaceName, role: Role, faces: BuiltFaces) => role.modules.flatMap(module => faces.get(module)?.[face] ?? [])
const identifiersOf = (face: FaceName, role: Role, faces: BuiltFaces) =>
  role.modules.flatMap(module => faces.get(module)?.identifiers?.[face] ?? [])

type Keys = ReturnType<typeof keysOf>

/** Requests that must take effect once only need the database, and the key that their answers are encrypted with. */
function keysOf(roles: readonly Role[], { db }: Ports, { config, log, metrics }: Surroundings) {
  if (!db || roles.every(({ serves }) => serves.length === 0)) return undefined
  let cipher: Cipher | undefined
  return idempotency({ db, cipher: () => (cipher ??= createCipher(rootKey(config), 'idempotent-request')), log, metrics })
}

function httpServer(
  face: FaceName,
  controllers: readonly Controller[],
  identifiers: readonly Identifier[],
  more: readonly Controller[],
  health: Health,
  surroundings: Surroundings,
  keys: Keys,
): ListeningService {
  const { config, log, metrics, readiness, version, queue, identities, limits } = surroundings
  if (identifiers.length > 0 && !identities)
    throw new StartError(`the modules that recognize callers of the ${face} server must list the port revocations in \`needs\``)
  const [closed] = closedRoutes(controllers.flatMap(({ routes }) => routes as never))
  if (closed !== undefined && identifiers.length === 0) throw nobodyCould(closed, face, surroundings.allRoles)
  const { prefix, listen, areDocsClosed } = httpFaces[face]
  const info = infoOf(face, version)
  const docs = info && docsRoutes(info, () => openApiDocument(info, prefix, controllers), { areClosed: areDocsClosed })
  // Each request knows its own writes where replicas answer, and goes on in the tasks that it enqueues.
  const hasCallers = queue !== undefined || config.database.replicaUrls !== undefined
  const { bodyLimitBytes, trustedProxies, requestTimeoutMs: timeoutMs } = config.http
  // Nobody's pages but its own use the others.
  const corsOrigins = face === 'api' ? config.http.corsOrigins : []
  const recognizer = identities?.recognizer(identifiers)
  const tools = {
    log,
    metrics,
    readiness,
    health,
    bodyLimitBytes,
    hasCallers,
    trustedProxies,
    recognizer,
    limits,
    corsOrigins,
    timeoutMs,
    keys,
  }
  const app = httpApp(face, prefix, controllers, tools, [...(docs ? [docs] : []), ...more])
  const options = listen(config)
  return listeningService(face, options, () => {
    app.listen({
      hostname: options.host,
      port: options.port,
      idleTimeout: idleTimeoutSeconds,
      maxRequestBodySize: bunBodyLimitBytes,
      // Elysia's default lets a second process take the same port, unnoticed.
      reusePort: false,
      development: false,
      error: thrown => lastResort(thrown, log),
    })
    return app.server as NonNullable<typeof app.server>
  })
}

/** Which modules recognize callers of a server, the faces of all modules say. */
function nobodyCould(route: string, face: FaceName, allRoles: readonly Role[]): StartError {
  const built = buildModules(modulesOf(allRoles), unopened)
  const able = [...built].flatMap(([{ name }, { identifiers }]) => (identifiers?.[face] ? [name] : []))
  const remedy =
    able.length > 0
      ? `add ${able.join(' or ')} to roles/${face}.ts`
      : `add one to roles/${face}.ts whose faces have identifiers: { ${face} }`
  return new StartError(`nobody could call ${route} of the ${face} server, since no module of its role recognizes callers; ${remedy}`)
}

function infoOf(face: FaceName, version: string) {
  const { title } = httpFaces[face]
  if (!title) return undefined
  return { title, version, description: 'Errors are application/problem+json (RFC 9457); programs read their `code`.' }
}

/** For wiring modules without starting anything. One that used a port while it is wired would do I/O in `create`. */
export const unopened = new Proxy({} as Ports, {
  get: (_, name) =>
    new Proxy(() => {}, {
      get: () => {
        throw new Error(`the port ${String(name)} was used while a module was being wired`)
      },
    }),
})

/** The OpenAPI document of a role, made without starting anything. */
export async function documentOf(role: Role, ports: Ports, version: string): Promise<OpenApiDocument | undefined> {
  const face = role.serves[0]
  const info = face && infoOf(face, version)
  if (!info) return undefined
  return openApiDocument(info, httpFaces[face].prefix, controllersOf(face, role, buildModules(role.modules, ports)))
}
