import type { Config } from '@/core/config/settings'
import type { Controller } from '@/core/controller'
import type { DenialWitness } from '@/core/denial'
import { StartError } from '@/core/error'
import type { Identifier } from '@/core/identity'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { type AnyModule, buildModules, type Faces, type HttpFaceName } from '@/core/module'
import type { Ports } from '@/core/ports'
import type { RateLimits } from '@/core/rate-limit'
import type { Role } from '@/core/role'
import type { Readiness } from '@/core/service'
import { httpApp, type HttpTools } from './infra/http/app'
import { docsRoutes, type OpenApiDocument, openApiDocument } from './infra/http/docs'
import type { Health } from './infra/http/health'
import { lastResort } from './infra/http/problem'
import { closedRoutes } from './infra/http/routes'
import { bunBodyLimitBytes, idleTimeoutSeconds, type ListeningService, type ListenOptions, listeningService } from './infra/http/server'
import type { OpenIdentities } from './infra/identity/open'
import type { OpenLiveSettings } from './infra/live-settings/open'
import type { OpenQueue } from './infra/queue/open'

/** The HTTP faces of roles: where each listens, what its document says, and the server of it. */

/** Where it listens, what its paths begin with, and whether it documents itself. */
interface HttpFace {
  prefix: string
  listen(config: Config): ListenOptions
  title?: string
  /** Its document is for those alone who may log in to it. */
  areDocsClosed?: true
  /** Its pages may have sessions in cookies. */
  takesCookies?: true
}

export const httpFaces: Record<HttpFaceName, HttpFace> = {
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
    takesCookies: true,
  },
  bot: {
    prefix: '/bot',
    listen: ({ http, bot }) => ({ host: http.host, port: bot.port, setting: 'bot.port' }),
  },
}

export interface HttpSurroundings {
  config: Config
  log: Log
  metrics: Metrics
  readiness: Readiness
  version: string
  /** The queue that was opened, when some module or role needs one. */
  queue?: OpenQueue | undefined
  /** Whom this process knows, when some module recognizes callers. */
  identities?: OpenIdentities | undefined
  /** What administrators change while it runs, when it has a database. */
  liveSettings?: OpenLiveSettings | undefined
  /** How many requests each caller may make, over all servers of the installation. */
  limits?: RateLimits | undefined
  /** Aborted when the servers have stopped accepting. */
  stopping?: AbortController | undefined
  /** All that there are, whether this process runs them or not: queues and limits are the same for all. */
  allRoles: readonly Role[]
}

/** What a server of a face is made of. */
interface ServerParts {
  face: HttpFaceName
  controllers: readonly Controller[]
  identifiers: readonly Identifier[]
  /** Beside its controllers, outside its prefix. */
  more: readonly Controller[]
  health: Health
  surroundings: HttpSurroundings
  keys: HttpTools['keys']
  denials: readonly DenialWitness[]
}

/** @throws StartError when nobody could be recognized, or nobody could call a route */
export function httpServer({ face, controllers, identifiers, more, health, surroundings, keys, denials }: ServerParts): ListeningService {
  const { config, log, metrics, readiness, version, queue, identities, liveSettings, limits, stopping } = surroundings
  if (identifiers.length > 0 && !identities)
    throw new StartError(`the modules that recognize callers of the ${face} server must list the port revocations in \`needs\``)
  const [closed] = closedRoutes(controllers.flatMap(({ routes }) => routes as never))
  if (closed !== undefined && identifiers.length === 0) throw nobodyCould(closed, face, surroundings.allRoles)
  const { prefix, areDocsClosed, takesCookies } = httpFaces[face]
  const info = infoOf(face, version)
  const docs = info && docsRoutes(info, () => openApiDocument(info, prefix, controllers, { takesCookies }), { areClosed: areDocsClosed })
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
    takesCookies,
    provenMs: config.admin.provenMs,
    limits,
    corsOrigins,
    timeoutMs,
    keys,
    denials,
    // Whoever ends it needs the admin server.
    liveSettings: face === 'api' ? liveSettings?.liveSettings : undefined,
  }
  const app = httpApp(face, prefix, controllers, tools, [...(docs ? [docs] : []), ...more])
  const options = httpFaces[face].listen(config)
  const listen = () => {
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
  }
  return listeningService(face, options, listen, () => stopping?.abort())
}

/** Which modules recognize callers of a server, the faces of all modules say. */
function nobodyCould(route: string, face: HttpFaceName, allRoles: readonly Role[]): StartError {
  const built = buildModules([...new Set(allRoles.flatMap(role => role.modules))], unopened)
  const able = [...built].flatMap(([{ name }, { identifiers }]) => (identifiers?.[face] ? [name] : []))
  const remedy =
    able.length > 0
      ? `add ${able.join(' or ')} to roles/${face}.ts`
      : `add one to roles/${face}.ts whose faces have identifiers: { ${face} }`
  return new StartError(`nobody could call ${route} of the ${face} server, since no module of its role recognizes callers; ${remedy}`)
}

function infoOf(face: HttpFaceName, version: string) {
  const { title } = httpFaces[face]
  if (!title) return undefined
  return { title, version, description: 'Errors are application/problem+json (RFC 9457); programs read their `code`.' }
}

export type BuiltFaces = ReadonlyMap<AnyModule, Faces>
/** The controllers of a role's modules under one face. */
export const controllersOf = (face: HttpFaceName, role: Role, faces: BuiltFaces) =>
  role.modules.flatMap(module => faces.get(module)?.[face] ?? [])

/** What a role serves by HTTP. */
export const httpFacesOf = ({ serves }: Role): HttpFaceName[] => serves.filter(face => face !== 'rpc') as HttpFaceName[]

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
  const [face] = httpFacesOf(role)
  const info = face && infoOf(face, version)
  if (!info) return undefined
  const { prefix, takesCookies } = httpFaces[face]
  return openApiDocument(info, prefix, controllersOf(face, role, buildModules(role.modules, ports)), { takesCookies })
}
