import type { Metrics } from '@/core/metrics'

/** Semantic conventions of OpenTelemetry for `http.server.request.duration`. */
export const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts and times requests by method, route template and status. A path of nobody's has the route `none`. */
export function requestMetrics(server: string, metrics: Metrics) {
  const duration = metrics.histogram({
    name: 'http_server_request_duration_seconds',
    help: 'Duration of HTTP requests.',
    labels: ['server', 'method', 'route', 'status'],
    buckets: durationBuckets,
  })
  // Looked up by the cheapest key there is; bounded, since routes, methods and statuses are.
  const series = new Map<string, { observe(value: number): void }>()
  return (method: string, route: string, status: number, seconds: number) => {
    const key = `${status}${method}${route}`
    let found = series.get(key)
    if (!found) {
      const labels = { server, method: knownMethods.has(method) ? method : '_OTHER', route: route || 'none', status: String(status) }
      found = duration.with(labels)
      if (knownMethods.has(method)) series.set(key, found)
    }
    found.observe(seconds)
  }
}
