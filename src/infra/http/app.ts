import { type AnyElysia, Elysia } from 'elysia'
import type { Controller } from '@/core/controller'
import type { AppError } from '@/core/error'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Readiness } from '@/core/service'
import { checkBodyHeaders, readJson } from './body'
import type { Health } from './health'
import { fromElysia, problemResponse, routeErrors } from './problem'
import { checkQuery } from './query'
import { requestMetrics } from './request-metrics'
import { methodTable } from './routes'

export interface HttpTools {
  log: Log
  metrics: Metrics
  readiness: Readiness
  health: Health
  bodyLimitBytes: number
}

/** On every answer of an API (OWASP REST Security Cheat Sheet). Pages bring their own policy. */
export const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'cache-control': 'no-store',
}

/** What this layer keeps on Elysia's context between its hooks. */
interface Kept {
  startedMs: number
  requestId: string
  isFinished?: boolean
}

/**
 * The app of one server: strict bodies and queries, security headers, request ids, problem+json, metrics, one log line a request.
 * Bound to no port, so tests call `.handle(request)`.
 *
 * What runs for every request is written for speed: it decides whether the API is as fast as the bare library.
 *
 * @param name of the server, in metrics and logs
 * @param more routes that are not of the API, such as its documents
 */
export function httpApp(name: string, prefix: string, controllers: readonly Controller[], tools: HttpTools, more?: AnyElysia): AnyElysia {
  const { log, readiness, health, bodyLimitBytes } = tools
  const record = requestMetrics(name, tools.metrics)
  const nextId = requestIds()
  let allowed: ((path: string) => string[]) | undefined

  function finished(context: Kept & { request: Request; route?: string }, status: number, error?: AppError) {
    // Most errors pass through `mapResponse` too, after `onError`.
    if (context.isFinished) return
    context.isFinished = true
    const durationMs = performance.now() - context.startedMs
    const { method } = context.request
    const route = context.route ?? ''
    record(method, route, status, durationMs / 1000)
    if (error?.kind === 'Internal') {
      log.error('request failed', {
        server: name,
        requestId: context.requestId,
        method,
        route,
        status,
        durationMs,
        err: error.cause ?? error,
      })
    } else if (log.enabled('info')) {
      log.info('request', {
        server: name,
        requestId: context.requestId,
        method,
        route,
        status,
        durationMs: Math.round(durationMs * 1000) / 1000,
        ...(error && { code: error.code }),
      })
    }
  }

  const app = new Elysia({ normalize: false })
    .headers(securityHeaders)
    .onRequest(context => {
      const { request, set } = context
      const kept = context as unknown as Kept & { qi: number }
      kept.startedMs = performance.now()
      const requestId = nextId(request.headers)
      kept.requestId = requestId
      set.headers['x-request-id'] = requestId
      if (readiness.state === 'draining') set.headers['connection'] = 'close'
      if (!acceptsJson(request.headers) && pathOf(request.url).startsWith(prefix)) throw routeErrors.Accept()
      if (kept.qi !== -1) checkQuery(request.url.slice(kept.qi + 1))
      const { method } = request
      if (method === 'GET' || method === 'HEAD') return
      checkBodyHeaders(request.headers, bodyLimitBytes)
      // Elysia's `parse: 'json'` calls this. Its own hook for parsers first opens the body as a stream, which costs a microsecond.
      Object.assign(request, { json: () => readJson(request, bodyLimitBytes) })
    })
    .mapResponse(context => {
      const status = typeof context.set.status === 'number' ? context.set.status : 200
      finished(context as unknown as Kept & { request: Request; route: string }, status)
    })
    .onError(context => {
      const { request, set, error: thrown, code } = context
      const path = pathOf(request.url)
      let error = fromElysia(thrown)
      if (code === 'NOT_FOUND') {
        allowed ??= methodTable(app.routes)
        const allow = allowed(path)
        error = allow.length > 0 ? routeErrors.Method({ allow }) : routeErrors.Route()
      }
      const kept = context as unknown as Kept & { request: Request; route: string }
      const response = problemResponse(error, path, kept.requestId, set.headers as Record<string, string>)
      finished(kept, error.httpStatus, error)
      return response
    })
    .get('/livez', () => health.livez())
    .get('/readyz', ({ request }) => health.readyz(request.url))
    .group(prefix, group => controllers.reduce<AnyElysia>((all, controller) => all.use(controller), group) as never)
  const whole = more ? app.use(more) : app
  return whole as unknown as AnyElysia
}

const pathOf = (url: string) => {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  const end = url.indexOf('?', start)
  return url.slice(start, end === -1 ? undefined : end)
}

/** Our media type, or a range that holds it; parameters and preferences do not matter when there is one representation. */
function acceptsJson(headers: Headers): boolean {
  const accept = headers.get('accept')
  return accept === null || accept === '*/*' || /\*\/\*|application\/(\*|json|problem\+json)/i.test(accept)
}

/** The caller's id when it sends one that is fit for logs, else one of ours: unique among processes by its first half. */
function requestIds() {
  const process = Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString('hex')
  let count = 0
  return (headers: Headers): string => {
    const given = headers.get('x-request-id')
    if (given !== null && /^[\w.-]{1,64}$/.test(given)) return given
    return `${process}-${(count++).toString(36)}`
  }
}
