import type { Asking } from '@/core/asking'
import type { DenialWitness } from '@/core/denial'
import type { AppError } from '@/core/error'
import { actorOf } from '@/core/identity'
import type { Log, LogLevel } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import { callErrors } from './status'

/** A call when it is over. */
export interface EndedCall {
  /** `bingo.user.v1.UserService/GetUser` */
  method: string
  isProbe: boolean
  startedMs: number
  requestId: string
  asking: Asking
  /** Who calls may not do what the call asks for. */
  isDenied: boolean
  /** Of google.rpc.Code: `OK`, `NOT_FOUND`. */
  status: string
  error: AppError | undefined
}

/** As of HTTP requests. Streams that go on for longer are all counted as longer than the last. */
const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const cancelledCode = callErrors.Cancelled().code

interface Observed {
  observe(value: number): void
}

/** Counts, times and logs each call once, when it is over: as `requestRecord` does for HTTP. Labels are methods and codes, so they are few. */
export function callRecord(log: Log, metrics: Metrics, denials: readonly DenialWitness[] = []): (call: EndedCall) => void {
  const duration = metrics.histogram({
    name: 'rpc_server_duration_seconds',
    help: 'Duration of gRPC calls, of streams to their end.',
    labels: ['method', 'code'],
    buckets: durationBuckets,
  })
  const series = new Map<string, Map<string, Observed>>()

  function seriesOf(method: string, code: string): Observed {
    const codes = series.get(method) ?? new Map<string, Observed>()
    series.set(method, codes)
    const found = codes.get(code) ?? duration.with({ method, code })
    codes.set(code, found)
    return found
  }

  return call => {
    const { method, status, error, asking, isDenied, requestId } = call
    const elapsedMs = performance.now() - call.startedMs
    seriesOf(method, status).observe(elapsedMs / 1000)
    if (error && (isDenied || error.kind === 'PermissionDenied') && asking.identity.kind !== 'anonymous')
      for (const witness of denials) witness.denied({ asking, method: 'gRPC', path: `/${method}`, code: error.code })
    const level = isDenied && error?.kind !== 'Internal' ? 'warn' : levelOf(call)
    if (!log.enabled(level)) return
    const actor = actorOf(asking.identity)
    const fields = {
      ...{ server: 'rpc', requestId, method, status },
      ...(actor !== undefined && { actor }),
      durationMs: Math.round(elapsedMs * 1000) / 1000,
    }
    // Whoever has heard enough of a stream cancels it.
    if (!error || error.code === cancelledCode) log[level]('call', fields)
    else if (isDenied) log[level]('access denied', { ...fields, address: asking.address, code: error.code })
    else log[level]('call failed', { ...fields, code: error.code, ...(level !== 'info' && { err: error.cause ?? error }) })
  }
}

/** What is our fault is an error, what something else of ours did not do a warning with its cause, and the rest is business. */
function levelOf({ isProbe, error }: EndedCall): LogLevel {
  if (error?.kind === 'Internal') return 'error'
  if (error && error.httpStatus >= 500 && error.cause !== undefined) return 'warn'
  return isProbe ? 'debug' : 'info'
}
