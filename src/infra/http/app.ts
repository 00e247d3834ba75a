import { type AnyElysia, Elysia } from 'elysia'
import type { Controller } from '@/core/controller'
import type { DenialWitness } from '@/core/denial'
import type { LiveSettings } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { RateLimits } from '@/core/rate-limit'
import type { Readiness } from '@/core/service'
import type { idempotency } from '../idempotency/keys'
import { locator } from './address'
import { leavesBody } from './body'
import { crossOrigin } from './cross-origin'
import { deadline, deadlineErrors } from './deadline'
import type { Health } from './health'
import { counting, rateClasses } from './limited'
import { maintenance } from './maintenance'
import { fromElysia, problemResponse, routeErrors } from './problem'
import { pathOf, requestGate, type TrackedRequest } from './request'
import { requestRecord } from './request-record'
import { type Handler, type Recognizer, recognition, separateCallers } from './recognition'
import { completedResponse, jsonResponse, type OwnHeaders } from './response'
import { type KnownPath, pathTable, strangersTable } from './routes'

export interface HttpTools {
  log: Log
  metrics: Metrics
  readiness: Readiness
  health: Health
  bodyLimitBytes: number
  /** Runs each request as a caller of its own (see core/caller.ts). It costs every await a little, so only where it is of use. */
  hasCallers?: boolean
  /** Answers requests with an `Idempotency-Key`; without it the header says nothing. */
  keys?: ReturnType<typeof idempotency> | undefined
  /** Networks of the proxies that say truly who called them. */
  trustedProxies?: readonly string[]
  /** Who tells whose credentials those of the requests are. Without it nobody is known, and only routes for everyone answer. */
  recognizer?: Recognizer | undefined
  /** Whether browsers may come with the cookies of a session. */
  takesCookies?: boolean | undefined
  /** Since when a proof of who calls is old, where it says that one is needed (RFC 9470); milliseconds. */
  provenMs?: number | undefined
  /** How many requests each caller may make. Without it any number. */
  limits?: RateLimits | undefined
  /** Whose pages may use it from browsers. */
  corsOrigins?: readonly string[]
  /** How long a request may take, until it is answered without it. */
  timeoutMs?: number
  /** Who is told of callers that are known and are refused. */
  denials?: readonly DenialWitness[]
  /** Says whether it is closed for maintenance. Without it it never is. */
  liveSettings?: Pick<LiveSettings, 'now'> | undefined
}

/** Knows nobody. */
const nobody: Recognizer = { remembered: () => undefined, recognize: async () => undefined }

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
  {
    log,
    metrics,
    readiness,
    health,
    bodyLimitBytes,
    hasCallers,
    trustedProxies = [],
    recognizer = nobody,
    takesCookies,
    provenMs,
    limits,
    corsOrigins = [],
    timeoutMs,
    keys,
    denials,
    liveSettings,
  }: HttpTools,
  more: readonly AnyElysia[] = [],
): AnyElysia {
  const record = requestRecord(name, log, metrics, denials)
  // Made when it is first asked: every route is there by then.
  let paths: ReturnType<typeof pathTable> | undefined
  const knownPath = (path: string): KnownPath | undefined => {
    paths ??= pathTable(app.routes)
    return paths(path)
  }
  const origins = corsOrigins.length > 0 ? crossOrigin(corsOrigins, path => knownPath(path)?.methods) : undefined
  let strangers: ReturnType<typeof strangersTable> | undefined
  const locate = locator(
    trustedProxies,
    () => app.server,
    address =>
      log.warn(
        'X-Forwarded-For is not believed; if this is a proxy of yours, all its callers count as one: name it in http.trustedProxies',
        {
          server: name,
          address,
        },
      ),
  )
  const gate = requestGate(readiness, {
    prefix,
    bodyLimitBytes,
    hasCallers,
    givesFiles: path => knownPath(path)?.givesFiles === true,
    isClosedToStrangers(method, path) {
      strangers ??= strangersTable(app.routes)
      return strangers(method, path)
    },
    takesCookies,
    locate,
    introduceTo: origins?.introduce,
  })

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
      return completedResponse(responseValue, request.requestId, { ...request.limitHeaders, ...own })
    }
    record(request, route, status)
    return jsonResponse(responseValue, status, request.requestId, own, request.limitHeaders)
  }

  function onError({ request, set, route, code, error: thrown }: HookContext & { code: string | number; error: unknown }) {
    const path = pathOf(request.url)
    const known = knownPath(path)
    const error = code === 'NOT_FOUND' ? noRoute(known) : fromElysia(thrown)
    // What the gate refuses never reaches a route, but is told apart by it all the same.
    record(request, route || known?.template, error.httpStatus, error)
    const own = { ...request.limitHeaders, ...set.headers }
    set.headers = {}
    if (leavesBody(request)) own['connection'] = 'close'
    return problemResponse(error, path, request.requestId, own, provenMs)
  }

  const app = new Elysia({ normalize: false })
    .onRequest(onRequest as never)
    .mapResponse(onResponse as never)
    .onError(onError as never)
    .get('/livez', () => health.livez())
    .get('/readyz', ({ request }) => health.readyz(request.url))
    .group(prefix, group => controllers.reduce<AnyElysia>((all, controller) => all.use(controller), group) as never) as unknown as AnyElysia
  /** Answers instead of the app, which goes on. */
  function overdue(request: TrackedRequest, elapsedMs: number): Response {
    const path = pathOf(request.url)
    const error = deadlineErrors.Request()
    request.startedMs ??= performance.now() - elapsedMs
    request.requestId ??= ''
    record(request, knownPath(path)?.template, error.httpStatus, error)
    // A body that is still coming comes no more.
    const own: OwnHeaders = { ...request.limitHeaders, connection: 'close' }
    origins?.introduce(request.headers, own)
    return problemResponse(error, path, request.requestId, own)
  }

  // The last is the outermost: who it is, is noted of the caller.
  const counts =
    limits &&
    counting(
      limits,
      locate,
      rateClasses(() => app.routes),
    )
  const closing = liveSettings && maintenance(liveSettings, path => isBeside(knownPath(path), prefix))
  if (closing) app.wrap(closing.notingApp as never)
  if (counts) app.wrap(counts.around as never)
  app.wrap(recognition(recognizer, counts?.strangers, takesCookies) as never)
  // Inside the deadline: what goes on after it is still kept for whoever asks again.
  if (keys) app.wrap(keyedApart(keys, path => knownPath(path)?.template) as never)
  if (timeoutMs !== undefined) app.wrap(deadline(timeoutMs, overdue as never) as never)
  if (closing) app.wrap(closing.around as never)
  if (origins) app.wrap(origins.preflight as never)
  if (hasCallers) app.wrap(separateCallers as never)
  return more.reduce<AnyElysia>((all, routes) => all.use(routes) as unknown as AnyElysia, app)
}

/** Whether a path is not of the API, but beside it: health, documents, public keys. */
const isBeside = (known: KnownPath | undefined, prefix: string) => known !== undefined && !known.template.startsWith(prefix)

/** Nobody's path, or a path that does not take this method. */
const noRoute = (known: KnownPath | undefined) => (known ? routeErrors.Method({ allow: known.methods }) : routeErrors.Route())

/** Requests that must take effect once only go another way: whoever sends none of them pays nothing for it. */
function keyedApart(keys: ReturnType<typeof idempotency>, routeOf: (path: string) => string | undefined) {
  return (answer: Handler): Handler => {
    const keyed = keys(answer as Parameters<typeof keys>[0], routeOf)
    return (request, server) => {
      const { method } = request
      if (method === 'POST' || method === 'PATCH') {
        const key = request.headers.get('idempotency-key')
        if (key !== null) return keyed(request as TrackedRequest, key, server)
      }
      return answer(request, server)
    }
  }
}
