import { addressOf } from '@/core/address'
import { askingOf } from '@/core/asking'
import type { DenialWitness } from '@/core/denial'
import type { AppError } from '@/core/error'
import { actorOf } from '@/core/identity'
import type { Log, LogLevel } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { pathOf, type TrackedRequest } from './request'

/** Semantic conventions of OpenTelemetry for `http.server.request.duration`. */
const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
/** Asked every few seconds by machines; nobody reads of it. */
const probes = new Set(['/livez', '/readyz'])

interface Observed {
  observe(value: number): void
}

/**
 * Counts, times and logs each request once, when its answer is known. Labels are the method, the route's template and the
 * status, so they are few; a path of nobody's has the route `none`.
 */
export function requestRecord(server: string, log: Log, metrics: Metrics, denials: readonly DenialWitness[] = []) {
  const duration = metrics.histogram({
    name: 'http_server_request_duration_seconds',
    help: 'Duration of HTTP requests.',
    labels: ['server', 'method', 'route', 'status'],
    buckets: durationBuckets,
  })
  // By route, method and status, each a key that is at hand: one made of the three costs more than the observation.
  const series = new Map<string, Map<string, Record<number, Observed>>>()

  function seriesOf(method: string, route: string, status: number): Observed {
    const found = series.get(route)?.get(method)?.[status]
    if (found) return found
    const isKnown = knownMethods.has(method)
    const made = duration.with({ server, method: isKnown ? method : '_OTHER', route: route || 'none', status: String(status) })
    // Anyone can invent methods; the map must not grow with them.
    if (!isKnown) return made
    const methods = series.get(route) ?? new Map<string, Record<number, Observed>>()
    methods.set(method, { ...methods.get(method), [status]: made })
    series.set(route, methods)
    return made
  }

  return (request: TrackedRequest, route: string | undefined, status: number, error?: AppError): void => {
    // Most errors pass two of Elysia's hooks.
    if (request.isFinished) return
    request.isFinished = true
    const elapsedMs = performance.now() - request.startedMs
    const { method, requestId } = request
    seriesOf(method, route ?? '', status).observe(elapsedMs / 1000)
    if (error && denials.length > 0) tell(denials, request, error)
    const level = request.isDenied && error?.kind !== 'Internal' ? 'warn' : levelOf(route, error)
    if (!log.enabled(level)) return
    const actor = request.identity && actorOf(request.identity)
    const fields = {
      server,
      requestId,
      method,
      route,
      status,
      ...(actor !== undefined && { actor }),
      durationMs: Math.round(elapsedMs * 1000) / 1000,
    }
    if (!error) log[level]('request', fields)
    else if (request.isDenied) log[level]('access denied', { ...fields, address: addressOf(request), code: error.code })
    else log[level]('request failed', { ...fields, code: error.code, ...(level !== 'info' && { err: error.cause ?? error }) })
  }
}

/** Whoever is known and may not: by the rules of the route, or by those of its biz. */
function tell(denials: readonly DenialWitness[], request: TrackedRequest, error: AppError): void {
  const { identity, method, url } = request
  if (!identity || identity.kind === 'anonymous' || !(request.isDenied || error.kind === 'PermissionDenied')) return
  for (const witness of denials) witness.denied({ asking: askingOf(request), method, path: pathOf(url), code: error.code })
}

/** What is our fault is an error, what something else of ours did not do a warning with its cause, and the rest is business. */
function levelOf(route: string | undefined, error: AppError | undefined): LogLevel {
  if (error?.kind === 'Internal') return 'error'
  if (error && error.httpStatus >= 500 && error.cause !== undefined) return 'warn'
  return route !== undefined && probes.has(route) ? 'debug' : 'info'
}
