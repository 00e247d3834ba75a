import type { Http2Server, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { ServiceIdentity } from '@/core/identity'
import type { RpcFace } from '@/core/rpc'
import { callerOf } from '../http/address'
import { requestIds } from '../http/request'
import { isEmbedded } from '../database/open'
import { createWaits } from '../waits'
import { createAdmission } from './admission'
import type { CallTools, IncomingCall, LiveCall } from './call'
import { certificateIdentities } from './certificate'
import { createGate } from './gate'
import { loadGrpc } from './grpc'
import { healthService } from './health'
import { createPlaces } from './places'
import { callRecord } from './record'
import { reflectionMethods } from './reflection'
import type { RpcLimits, RpcSurroundings } from './server'
import { type ServedMethod, servedMethods } from './served'
import { servicesOf } from './services'
import { callErrors } from './status'
import { createUnread } from './unread'

/** What serves the connections of gRPC. It is loaded when the first one comes: see `loadGrpc`. */
export interface OpenRpcServer {
  take(socket: Socket): void
  /**
   * Takes no more calls, and tells those who are connected. @param patienceMs after which streams are ended that have not come to their end
   * @returns when all calls are over
   */
  drain(patienceMs: number): Promise<void>
}

export async function openRpcServer(
  faces: readonly RpcFace[],
  surroundings: RpcSurroundings,
  limits: RpcLimits,
  isEncrypted: boolean,
): Promise<OpenRpcServer> {
  const { config, log, metrics } = surroundings
  const { Server, ServerCredentials, ...library } = await loadGrpc()
  const live = new Set<LiveCall>()
  let isStopping = false
  const streams = new Set<LiveCall>()
  const builtInStreams = createPlaces({ max: limits.builtInStreamsMax, eachMax: limits.builtInStreamsPerAddressMax })
  let looking: Timer | undefined
  let idle = () => {}

  /** Streams go on for longer than what was found out when they began. */
  function look(): void {
    for (const call of streams) void call.look()
  }

  const tools: CallTools = {
    ...{
      grpc: { ...library, Server, ServerCredentials },
      admission: createAdmission({ ...surroundings, isEncrypted }),
    },
    record: callRecord(log, metrics, surroundings.denials),
    ...{ waits: createWaits(config.http.requestTimeoutMs), timeoutMs: config.http.requestTimeoutMs, requestId: requestIds() },
    addressOf: addresses(surroundings),
    ofCertificate: byCertificate(surroundings),
    unread: createUnread({
      maxBytes: Math.max(limits.unreadMaxBytes, 8 * config.http.bodyLimitBytes),
      connectionMaxBytes: Math.max(limits.unreadPerConnectionMaxBytes, 2 * config.http.bodyLimitBytes),
    }),
    strangers: createPlaces({ eachMax: limits.strangersPerAddressMax }),
    builtInStreams,
    began(call) {
      if (isStopping) throw callErrors.Stopping()
      live.add(call)
    },
    opened(call) {
      if (call.method.isBuiltIn) return
      if (streams.size >= limits.streamsMax) throw callErrors.Streams({ retryAfterSeconds: 5 })
      streams.add(call)
      looking ??= setInterval(look, limits.lookEveryMs).unref()
    },
    ended(call) {
      if (!live.delete(call)) return
      if (streams.delete(call) && streams.size === 0) {
        clearInterval(looking)
        looking = undefined
      }
      if (live.size === 0) idle()
    },
  }
  metrics.gauge({ name: 'rpc_server_streams', help: 'Open streams of gRPC.' }, () => streams.size + builtInStreams.size)
  const methods = await methodsOf(faces, surroundings)
  const gate = createGate(new Map(methods.map(method => [method.path, method])), tools)
  const server = new Server({
    interceptors: [gate.interceptor],
    'grpc.max_receive_message_length': config.http.bodyLimitBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': limits.callsMax,
    'grpc.max_connection_age_ms': limits.connectionAgeMs,
    'grpc.keepalive_time_ms': limits.keepaliveMs,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    // It keeps a record of each connection and counts each call, for tools that nobody has here.
    'grpc.enable_channelz': 0,
  })
  for (const method of methods) server.register(method.path, gate.handlerOf(method) as never, asItIs, asItIs, method.run.kind)
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  // What the library refuses by itself, such as methods that there are not, it leaves open for as long as the caller likes.
  for (const { on } of http2ServersOf(server)) on('stream', gate.dismiss)

  return {
    take: socket => injector.injectConnection(socket),
    async drain(patienceMs) {
      isStopping = true
      server.tryShutdown(() => {})
      // Who watches its health has been told already.
      end(live, call => !call.isWhole || (call.isStream && call.method.isBuiltIn))
      const timer = setTimeout(() => end(live, call => call.isStream), patienceMs)
      if (live.size > 0) await new Promise<void>(resolve => (idle = resolve))
      clearTimeout(timer)
    },
  }
}

function end(live: ReadonlySet<LiveCall>, isMeant: (call: LiveCall) => boolean): void {
  for (const call of live) if (isMeant(call)) call.end(callErrors.Stopping())
}

/** The library does not show them. */
function http2ServersOf(server: object): { on(event: 'stream', listener: (stream: ServerHttp2Stream) => void): void }[] {
  const { http2Servers } = server as { http2Servers: ReadonlyMap<Http2Server, unknown> }
  return [...http2Servers.keys()].map(http2 => ({ on: (event, listener) => void http2.on(event, listener) }))
}

/** Messages are read and written where it is known for whom. */
const asItIs = (bytes: Buffer): Buffer => bytes

async function methodsOf(faces: readonly RpcFace[], { config, readiness, health }: RpcSurroundings): Promise<ServedMethod[]> {
  const services = await servicesOf(faces)
  const descriptions = services.map(({ desc }) => desc)
  const probe = healthService(service => descriptions.some(({ typeName }) => typeName === service), readiness, health)
  return [
    ...services.flatMap(service => servedMethods(service)),
    ...servedMethods(probe, { isBuiltIn: true, isProbe: true }),
    ...((config.rpc.reflection ?? isEmbedded(config)) ? reflectionMethods([...descriptions, probe.desc]) : []),
  ]
}

function addresses({ config, log }: RpcSurroundings): CallTools['addressOf'] {
  const from = callerOf(config.http.trustedProxies, address =>
    log.warn('X-Forwarded-For is not believed; if this is a proxy of yours, all its callers count as one: name it in http.trustedProxies', {
      server: 'rpc',
      address,
    }),
  )
  return (peer, metadata) => {
    const at = peer.lastIndexOf(':')
    return from(at === -1 ? peer : peer.slice(0, at), { get: name => metadata.get(name).map(String).join(',') || undefined })
  }
}

/** Only where certificates are asked for is there one that somebody has checked. */
function byCertificate({ config }: RpcSurroundings): (call: IncomingCall) => ServiceIdentity | undefined {
  if (config.rpc.tlsCertFile === undefined || config.rpc.tlsCaFile === undefined) return () => undefined
  const identityOf = certificateIdentities(config.rpc.services)
  return call => {
    const { sslPeerCertificate } = call.getAuthContext()
    return sslPeerCertificate && identityOf(sslPeerCertificate as Parameters<typeof identityOf>[0])
  }
}
