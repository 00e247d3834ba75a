import { type AnyElysia, Elysia } from 'elysia'
import { asCaller } from '@/core/caller'
import type { Controller } from '@/core/controller'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Readiness } from '@/core/service'
import type { Health } from './health'
import { fromElysia, problemResponse, routeErrors } from './problem'
import { pathOf, requestGate, type TrackedRequest } from './request'
import { requestRecord } from './request-record'
import { completedResponse, jsonResponse, type OwnHeaders } from './response'
import { type KnownPath, pathTable } from './routes'

export interface HttpTools {
  log: Log
  metrics: Metrics
  readiness: Readiness
  health: Health
  bodyLimitBytes: number
  /** Runs each request as a caller of its own (see core/caller.ts). It costs every await a little, so only where it is of use. */
  hasCallers?: boolean
}

/** What the hooks below take of Elysia's context. */
interface HookContext {
  request: TrackedRequest
  set: { headers: OwnHeaders; status?: number | string }
  route?: string
}

/**
 * The app of one server: strict bodies and queries, security headers, request ids, problem+json, metrics, one log line a request.
 * Bound to no port, so tests call `.handle(request)`.
 *
 * What runs for every request is written for speed: it decides whether the API is as fast as the bare library. Elysia reads the
 * source text of each hook and prepares what it seems to use. So hooks take their context apart in their parameters: one that
 * handed it on would make every request pay for headers, query and cookies. And they are named functions: once minified, an
 * arrow that begins with a call looks asynchronous to it.
 *
 * @param name of the server, in metrics and logs
 * @param more routes that are not of the API, such as its documents
 */
export function httpApp(
  name: string,
  prefix: string,
  controllers: readonly Controller[],
  { log, metrics, readiness, health, bodyLimitBytes, hasCallers }: HttpTools,
  more?: AnyElysia,
): AnyElysia {
  const record = requestRecord(name, log, metrics)
  // Made when it is first asked: every route is there by then.
  let paths: ReturnType<typeof pathTable> | undefined
  const knownPath = (path: string): KnownPath | undefined => {
    paths ??= pathTable(app.routes)
    return paths(path)
  }
  const gate = requestGate(readiness, { prefix, bodyLimitBytes, hasCallers, givesFiles: path => knownPath(path)?.givesFiles === true })

  function onRequest({ request, set, qi }: HookContext & { qi: number }) {
    gate(request, set.headers, qi)
  }

  function onResponse({ request, set, route, responseValue }: HookContext & { responseValue: unknown }) {
    const own = set.headers
    const status = typeof set.status === 'number' ? set.status : 200
    // Said here already; Elysia would go through them once more.
    set.headers = {}
    set.status = 200
    if (responseValue instanceof Response) {
      record(request, route, responseValue.status)
      return completedResponse(responseValue, request.requestId, own)
    }
    record(request, route, status)
    return jsonResponse(responseValue, status, request.requestId, own)
  }

  function onError({ request, set, route, code, error: thrown }: HookContext & { code: string | number; error: unknown }) {
    const path = pathOf(request.url)
    const known = knownPath(path)
    const error = code === 'NOT_FOUND' ? noRoute(known) : fromElysia(thrown)
    // What the gate refuses never reaches a route, but is told apart by it all the same.
    record(request, route || known?.template, error.httpStatus, error)
    const own = set.headers
    set.headers = {}
    return problemResponse(error, path, request.requestId, own)
  }

  const app = new Elysia({ normalize: false })
    .onRequest(onRequest as never)
    .mapResponse(onResponse as never)
    .onError(onError as never)
    .get('/livez', () => health.livez())
    .get('/readyz', ({ request }) => health.readyz(request.url))
    .group(prefix, group => controllers.reduce<AnyElysia>((all, controller) => all.use(controller), group) as never) as unknown as AnyElysia
  if (hasCallers) app.wrap(separateCallers)
  return more ? (app.use(more) as unknown as AnyElysia) : app
}

/** Nobody's path, or a path that does not take this method. */
const noRoute = (known: KnownPath | undefined) => (known ? routeErrors.Method({ allow: known.methods }) : routeErrors.Route())

type Handler = (request: Request, server?: unknown) => unknown
/** Around the whole request, hooks included: what one of them learns of the caller, the others find. */
function separateCallers(answer: Handler): Handler {
  return (request, server) => asCaller({}, () => answer(request, server))
}
