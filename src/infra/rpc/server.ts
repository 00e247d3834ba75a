import type { Socket } from 'node:net'
import type { Config } from '@/core/config/settings'
import type { DenialWitness } from '@/core/denial'
import type { LiveSettings } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { RateLimits } from '@/core/rate-limit'
import type { RpcFace } from '@/core/rpc'
import type { Readiness } from '@/core/service'
import type { Health } from '../http/health'
import { type ListeningService, type ListenOptions, originOf } from '../http/server'
import type { Recognizer } from '../http/recognition'
import { createListener, type Listener } from './listener'
import type { OpenRpcServer } from './serving'
import { readTls } from './tls'

export interface RpcSurroundings {
  config: Pick<Config, 'rpc' | 'http' | 'database' | 'shutdown'>
  log: Log
  metrics: Metrics
  readiness: Readiness
  health: Pick<Health, 'isReady'>
  /** Who tells whose credentials those of the calls are. */
  recognizer: Recognizer | undefined
  /** How many calls each caller may make. Without it any number. */
  limits?: RateLimits | undefined
  /** Says whether the house is closed for maintenance. Without it it never is. */
  liveSettings?: Pick<LiveSettings, 'now'> | undefined
  /** Who is told of callers that are known and are refused. */
  denials?: readonly DenialWitness[]
  /** Aborted when no calls are taken any more: streams that go on without end must end then. */
  stopping?: AbortController | undefined
}

/** Of one process. */
export interface RpcLimits {
  connectionsMax: number
  /** From one address, or one /64 of IPv6, but from a proxy that is trusted. */
  connectionsPerAddressMax: number
  /** Of one connection, at a time. */
  callsMax: number
  /** Streams that are open at a time, 1–, of callers who may have them. */
  streamsMax: number
  /** Streams of health and reflection, which anybody may have: of all, and from one address. */
  builtInStreamsMax: number
  builtInStreamsPerAddressMax: number
  /** Other calls of those whom nobody knows, from one address, at a time. */
  strangersPerAddressMax: number
  /** What lies in memory of messages that are not whole yet, but at least eight of full size, and two of one connection. */
  unreadMaxBytes: number
  unreadPerConnectionMaxBytes: number
  /** How long a connection is used for new calls, so that those who balance find servers that have come since; a tenth more or less. */
  connectionAgeMs: number
  /** So often whoever is connected is asked whether it is still there, and so long it may think. */
  keepaliveMs: number
  keepaliveTimeoutMs: number
  /** So often it is looked whether those who listen to streams still may. */
  lookEveryMs: number
}

const defaults: RpcLimits = {
  connectionsMax: 1000,
  connectionsPerAddressMax: 100,
  callsMax: 256,
  streamsMax: 1000,
  builtInStreamsMax: 200,
  builtInStreamsPerAddressMax: 20,
  strangersPerAddressMax: 100,
  unreadMaxBytes: 64 * 1024 * 1024,
  unreadPerConnectionMaxBytes: 8 * 1024 * 1024,
  connectionAgeMs: 600_000,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 10_000,
  lookEveryMs: 1000,
}

/** Streams that do not end by themselves are ended so long before the process gives up waiting for what is in flight. */
const lastWordMs = 1000
/** Connections without calls are closed by whoever is at their other end, which takes a moment. */
const partingMs = 250

/** The gRPC server of this process. */
export function rpcServer(faces: readonly RpcFace[], surroundings: RpcSurroundings, limits: Partial<RpcLimits> = {}): ListeningService {
  const { config, log, metrics, stopping } = surroundings
  const all: RpcLimits = { ...defaults, ...limits }
  const options: ListenOptions = { host: config.rpc.host ?? config.http.host, port: config.rpc.port, setting: 'rpc.port' }
  let url = ''
  let listener: Listener | undefined
  let opening: Promise<OpenRpcServer> | undefined

  async function take(socket: Socket, isEncrypted: boolean): Promise<void> {
    opening ??= import('./serving').then(({ openRpcServer }) => openRpcServer(faces, surroundings, all, isEncrypted))
    try {
      ;(await opening).take(socket)
    } catch (err) {
      opening = undefined
      log.error('a connection of gRPC could not be taken', { err })
      throw err
    }
  }

  return {
    name: 'rpc',
    get url() {
      return url
    },
    async start() {
      const tls = readTls(config.rpc)
      const isEncrypted = tls.own !== undefined
      const connections = { max: all.connectionsMax, eachMax: all.connectionsPerAddressMax, freeFrom: config.http.trustedProxies }
      const made = createListener(options, tls, connections, socket => take(socket, isEncrypted))
      listener = made
      url = originOf(options.host, await made.listen()).replace('http', isEncrypted ? 'grpcs' : 'grpc')
      metrics.gauge({ name: 'rpc_server_connections', help: 'Open connections of gRPC.' }, () => made.size)
    },
    async stop() {
      const closed = listener?.close()
      stopping?.abort()
      // Those who are connected are told to go elsewhere; what they have called is answered.
      await (await opening?.catch(() => undefined))?.drain(Math.max(0, config.shutdown.deadlineMs - lastWordMs))
      const parting = setTimeout(() => listener?.destroyAll(), partingMs)
      await closed
      clearTimeout(parting)
      listener = undefined
    },
  }
}
