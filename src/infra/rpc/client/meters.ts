import type { Metrics } from '@/core/metrics'
import type { BreakerState } from '../../cache/breaker'
import { codeName } from '../grpc'

/** What clients count. A method is one of ours, and a code one of gRPC's: so the series are few. */
export interface ClientMeters {
  ended(path: string, code: number, seconds: number): void
  retried(path: string): void
  breakerOpened(): void
  /** Shows the state from now on. */
  breakerIs(state: () => BreakerState): void
}

/** Finer than those of requests: a call within a process takes less than a millisecond. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export function clientMeters(metrics: Metrics): ClientMeters {
  const durations = metrics.histogram({
    name: 'rpc_client_duration_seconds',
    help: 'Duration of calls of other services, with all that was tried again.',
    labels: ['method', 'code'],
    buckets,
  })
  const retries = metrics.counter({ name: 'rpc_client_retries_total', help: 'Calls that were tried again.', labels: ['method'] })
  const opened = metrics
    .counter({ name: 'rpc_client_breaker_opened_total', help: 'How often the services of others were given up for a moment.' })
    .with({})
  const series = new Map<string, ReturnType<typeof durations.with>[]>()
  return {
    ended(path, code, seconds) {
      const ofPath = series.get(path) ?? []
      if (ofPath.length === 0) series.set(path, ofPath)
      ofPath[code] ??= durations.with({ method: path.slice(1), code: codeName(code) })
      ofPath[code].observe(seconds)
    },
    retried: path => retries.with({ method: path.slice(1) }).add(),
    breakerOpened: () => opened.add(),
    breakerIs: state =>
      void metrics.gauge({ name: 'rpc_client_breaker_state', help: '0 closed, 1 half-open, 2 open: other services are not called.' }, () =>
        ['closed', 'half-open', 'open'].indexOf(state()),
      ),
  }
}
