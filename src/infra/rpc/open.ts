import { rpc as section } from '@/core/config/rpc'
import type { Config } from '@/core/config/settings'
import type { LiveSettings } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { RpcClients, RpcFace } from '@/core/rpc'
import type { Tokens } from '@/core/tokens'
import type { Answerer } from './client/outgoing'
import { createCredentials } from './client/credential'
import { clientMeters } from './client/meters'
import { clientOf, type Opened } from './client/methods'
import type { Network } from './client/network'
import { loadGrpc } from './grpc'
import { servicesOf } from './services'
import { readTls } from './tls'

export interface OpenRpcClients {
  clients: RpcClients
  /** What this process serves itself is called directly from now on, where `rpc.target` says nothing else. */
  serveHere(services: readonly RpcFace[]): void
  close(): Promise<void>
}

export interface RpcClientTools {
  tokens: Pick<Tokens, 'signService'>
  log: Log
  metrics: Metrics
  /** What this process is to others: its roles. */
  name: string
  /** Says whether the house is closed for maintenance. Without it it never is. */
  liveSettings?: Pick<LiveSettings, 'now'> | undefined
}

/** Where the server of this host is when it takes any free port here. */
const usualPort: number = section.properties.port.default

/**
 * Connects to nobody before the first call, and loads nothing for it.
 * @throws StartError when the files of certificates cannot be read
 */
export function openRpcClients(
  { rpc, http }: Pick<Config, 'rpc' | 'http'>,
  { tokens, log, metrics, name, liveSettings }: RpcClientTools,
): OpenRpcClients {
  const tls = readTls(rpc)
  const meters = clientMeters(metrics)
  const credentials = createCredentials(tokens, { service: name, log })
  const target = rpc.target ?? `127.0.0.1:${rpc.port || usualPort}`
  let here: readonly RpcFace[] = []
  let isClosed = false
  let ready: Opened | undefined
  let connected: Network | undefined

  /** Loads what calls of this process need. */
  const open = once(async () => {
    const services = rpc.target === undefined ? await servicesOf(here) : []
    const { opened } = await import('./client/opened')
    ready = opened(services, () => connected ?? connecting, { name, log, metrics, messageMaxBytes: http.bodyLimitBytes, liveSettings })
    return ready
  })

  /** Loads what calls over the network need. */
  const connect = once(async () => {
    // It sets up what it has loaded for all who use it, so it comes first.
    await loadGrpc()
    const [{ createNetwork }, { openChannel }] = await Promise.all([import('./client/network'), import('./client/channel')])
    connected = createNetwork(openChannel(target, tls), { credentials, log, meters })
    if (isClosed) connected.close()
    return connected
  })
  const connecting: Answerer = {
    unary: async call => (await connect()).unary(call),
    async *stream(call) {
      yield* (await connect()).stream(call)
    },
  }

  const tools = { timeoutMs: rpc.timeoutMs, meters, open: () => ready ?? open() }

  return {
    clients: { client: (service, { scopes }) => clientOf(service, { ...tools, scopes: [...scopes] }) },
    serveHere(services) {
      here = services
    },
    async close() {
      isClosed = true
      connected?.close()
    },
  }
}

/** Asks once, and again only when that has failed. */
function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined
  return () => {
    asked ??= ask().catch(thrown => {
      asked = undefined
      throw thrown
    })
    return asked
  }
}
