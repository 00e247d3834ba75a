import { type Config, opsPort } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { type AnyModule, buildModules, type FaceName, type Faces, portsNeeded, tablesDeclared, tasksDeclared } from '@/core/module'
import type { PortName, Ports } from '@/core/ports'
import { type Limit, limitsOf } from '@/core/queue/limit'
import type { Role } from '@/core/role'
import { type Readiness, type Service, together } from '@/core/service'
import { type AllWorks, withConcurrency, worksOf } from '@/core/works'
import { httpApp } from './infra/http/app'
import { docsRoutes, type OpenApiDocument, openApiDocument } from './infra/http/docs'
import { createHealth, type Health, type ReadinessCheck } from './infra/http/health'
import { opsServer } from './infra/http/ops'
import { lastResort } from './infra/http/problem'
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
    // Loopback whatever the configuration says, until administrators have to log in.
    listen: ({ admin }) => ({ host: '127.0.0.1', port: admin.port, setting: 'admin.port' }),
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
  const { config, log, metrics, readiness, version, queue, schedules, allRoles } = surroundings
  const works = withConcurrency(worksOf(roles), worksOf(allRoles), config.queue.concurrency)
  const limits = limitsOf(tasksOf(allRoles))
  const health = createHealth(readiness, checks, log)
  const ops = opsServer(
    { host: config.ops.host, port: opsPort(config, roles[0]?.name ?? ''), setting: 'ops.port' },
    { health, metrics, log, version: { version, roles: roles.map(role => role.name) } },
  )
  const faces = buildModules(modulesOf(roles), ports)
  const servers: App['servers'] = {}
  for (const role of roles) {
    for (const face of role.serves) {
      servers[face] ??= httpServer(face, facesOf(face, role, faces), health, surroundings)
    }
  }
  const declared = declaredSchedules({ faces, tasks: tasksOf(roles), roles, allRoles, payloadMaxBytes: config.queue.payloadMaxBytes })
  const firing = schedules && roles.some(({ firesSchedules }) => firesSchedules) ? [schedules.firing(declared)] : []
  const busy = [...Object.values(servers), ...firing]
  if (!queue || Object.keys(works.queues).length === 0) return { services: [ops, together(busy)], ops, servers, works }
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
  return { services: [ops, ...relays, together([...busy, working])], ops, servers, works }
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

/** The controllers of a role's modules under one face. */
const facesOf = (face: FaceName, role: Role, faces: ReadonlyMap<AnyModule, Faces>) =>
  role.modules.flatMap(module => faces.get(module)?.[face] ?? [])

type Controllers = ReturnType<typeof facesOf>

function httpServer(face: FaceName, controllers: Controllers, health: Health, surroundings: Surroundings): ListeningService {
  const { config, log, metrics, readiness, version, queue } = surroundings
  const { prefix, listen } = httpFaces[face]
  const info = infoOf(face, version)
  const docs = info && docsRoutes(info, () => openApiDocument(info, prefix, controllers))
  // Each request knows its own writes where replicas answer, and goes on in the tasks that it enqueues.
  const hasCallers = queue !== undefined || config.database.replicaUrls !== undefined
  const tools = { log, metrics, readiness, health, bodyLimitBytes: config.http.bodyLimitBytes, hasCallers }
  const app = httpApp(face, prefix, controllers, tools, docs)
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

function infoOf(face: FaceName, version: string) {
  const { title } = httpFaces[face]
  if (!title) return undefined
  return { title, version, description: 'Errors are application/problem+json (RFC 9457); programs read their `code`.' }
}

/** The OpenAPI document of a role, made without starting anything. */
export async function documentOf(role: Role, ports: Ports, version: string): Promise<OpenApiDocument | undefined> {
  const face = role.serves[0]
  const info = face && infoOf(face, version)
  if (!info) return undefined
  return openApiDocument(info, httpFaces[face].prefix, facesOf(face, role, buildModules(role.modules, ports)))
}
