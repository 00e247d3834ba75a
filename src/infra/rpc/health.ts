import { everyone } from '@/core/access'
import { defineErrors } from '@/core/error'
import { rpcService } from '@/core/rpc'
import type { Readiness } from '@/core/service'
import { Health, HealthCheckResponse_ServingStatus as Status } from '@/proto/generated/grpc/health/v1/health_pb.js'
import type { Health as Checks } from '../http/health'

/** The health checking protocol of gRPC (grpc/doc/health-checking.md): what `/readyz` says, for load balancers and clients that ask by gRPC. */

export const healthErrors = defineErrors({
  ServiceUnknown: ['NotFound', 'This server has no such service; ask for one that it has, or for all by an empty name.'],
})

/** So often those who watch are told of what no signal says: that the database is away, or back. */
const lookEveryMs = 1000

/** @param has whether the server has a service of this name; all of them are as healthy as the process */
export const healthService = (has: (service: string) => boolean, readiness: Readiness, checks: Pick<Checks, 'isReady'>) => {
  const isKnown = (service: string) => service === '' || has(service)
  const statusNow = async () => ((await checks.isReady()) ? Status.SERVING : Status.NOT_SERVING)

  return rpcService(Health, {
    check: {
      access: [everyone()],
      async run({ service }) {
        if (!isKnown(service)) throw healthErrors.ServiceUnknown()
        return { status: await statusNow() }
      },
    },
    watch: {
      access: [everyone()],
      async *run({ service }, { signal }) {
        if (!isKnown(service)) yield { status: Status.SERVICE_UNKNOWN }
        let told: Status | undefined
        while (!signal.aborted) {
          const changed = nextLook(readiness, signal)
          const status = isKnown(service) ? await statusNow() : told
          // It does not wait for the checks: whoever balances is to know at once.
          const now = readiness.state === 'draining' && isKnown(service) ? Status.NOT_SERVING : status
          if (now !== undefined && now !== told) yield { status: now }
          told = now
          await changed
        }
      },
    },
  })
}

/** Resolves when the process is ready or not any more, when nobody listens, and after a while. */
function nextLook(readiness: Readiness, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, lookEveryMs)
  const end = readiness.watch(resolve)
  signal.addEventListener('abort', () => resolve(), { once: true })
  return promise.finally(() => {
    clearTimeout(timer)
    end()
  })
}
