import { type Config, opsPort } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { type AnyModule, buildModules, type FaceName, type Faces, portsNeeded, tablesDeclared } from '@/core/module'
import type { Ports } from '@/core/ports'
import type { Role } from '@/core/role'
import type { Readiness, Service } from '@/core/service'
import { httpApp } from './infra/http/app'
import { docsRoutes, type OpenApiDocument, openApiDocument } from './infra/http/docs'
import { createHealth, type Health, type ReadinessCheck } from './infra/http/health'
import { opsServer } from './infra/http/ops'
import { lastResort } from './infra/http/problem'
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
}

/** What a process runs, in the order of starting: the ops server first and stopped last, then a server for each face. */
export interface App {
  services: Service[]
  ops: ListeningService
  servers: Partial<Record<FaceName, ListeningService>>
}

export const modulesOf = (roles: readonly Role[]): AnyModule[] => [...new Set(roles.flatMap(role => role.modules))]
export const tablesOf = (roles: readonly Role[]) => tablesDeclared(modulesOf(roles))
export const portsOf = (roles: readonly Role[]) => portsNeeded(modulesOf(roles))

/** Roles + ports → services. The one place where a face meets its server. */
export function createApp(roles: readonly Role[], ports: Ports, checks: readonly ReadinessCheck[], surroundings: Surroundings): App {
  const { config, log, metrics, readiness, version } = surroundings
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
  return { services: [ops, ...Object.values(servers)], ops, servers }
}

/** The controllers of a role's modules under one face. */
const facesOf = (face: FaceName, role: Role, faces: ReadonlyMap<AnyModule, Faces>) =>
  role.modules.flatMap(module => faces.get(module)?.[face] ?? [])

type Controllers = ReturnType<typeof facesOf>

function httpServer(face: FaceName, controllers: Controllers, health: Health, surroundings: Surroundings): ListeningService {
  const { config, log, metrics, readiness, version } = surroundings
  const { prefix, listen } = httpFaces[face]
  const info = infoOf(face, version)
  const docs = info && docsRoutes(info, () => openApiDocument(info, prefix, controllers))
  const tools = { log, metrics, readiness, health, bodyLimitBytes: config.http.bodyLimitBytes, hasCallers: !!config.database.replicaUrls }
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
