import type { RpcClients, RpcFace } from '@/core/rpc'
import { openRpcClients } from '@/infra/rpc/open'
import { fakeLog, fakeMetrics } from './fakes'

const signsNothing = {
  signService: async () => {
    throw new Error('nobody is called over the network here')
  },
}

/** The port `rpc` of a process that serves these services itself, as it is with `--role=all`: with access, deadlines and errors as over the network. */
export function callingHere(services: readonly RpcFace[], name = 'bot'): RpcClients {
  const config = { rpc: { timeoutMs: 5000 }, http: { bodyLimitBytes: 1_048_576 } } as Parameters<typeof openRpcClients>[0]
  const { clients, serveHere } = openRpcClients(config, { tokens: signsNothing, log: fakeLog(), metrics: fakeMetrics(), name })
  serveHere(services)
  return clients
}
