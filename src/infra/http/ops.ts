import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Health } from './health'
import { lastResort } from './problem'
import { type ListeningService, type ListenOptions, listeningService } from './server'

/** For those who run the process, on a port of its own: health, metrics, version. */
export function opsServer(
  options: ListenOptions,
  { health, metrics, log, version }: { health: Health; metrics: Metrics; log: Log; version: { version: string; roles: readonly string[] } },
): ListeningService {
  return listeningService('ops', options, () =>
    Bun.serve({
      hostname: options.host,
      port: options.port,
      // Otherwise a second process takes the same port unnoticed, and each gets half of the questions.
      reusePort: false,
      development: false,
      error: thrown => lastResort(thrown, log),
      routes: {
        '/livez': () => health.livez(),
        '/readyz': request => health.readyz(request.url),
        '/metrics': async () => {
          const { text, contentType } = await metrics.expose()
          return new Response(text, { headers: { 'content-type': contentType } })
        },
        '/version': () => Response.json(version),
      },
      fetch: () => new Response('not found: try /livez, /readyz, /metrics or /version\n', { status: 404 }),
    }),
  )
}
