import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { networkOf, parseAddress, parseNetwork } from '@/core/address'
import { exitCodes, StartError } from '@/core/error'
import { type ListenOptions, whyNot } from '../http/server'
import { createPlaces } from './places'
import type { RpcTls } from './tls'

/**
 * Takes connections and hands them over. It listens itself, rather than the library of gRPC, which is then loaded by the first who
 * connects, and it knows of each connection, so that none keeps the process from stopping.
 */
export interface Listener {
  /** @returns the port @throws StartError when it is taken, or TLS cannot be had */
  listen(): Promise<number>
  /** Stops taking connections. @returns when all have been closed, by whoever has them */
  close(): Promise<void>
  /** Of those that are there, whoever has them. */
  destroyAll(): void
  readonly size: number
}

export interface ConnectionLimits {
  max: number
  /** From one address. */
  eachMax: number
  /** Networks that may have any number: proxies. */
  freeFrom: readonly string[]
}

/** @param take called with each connection, once TLS is done with it; it is closed when that fails */
export function createListener(
  options: ListenOptions,
  { own, ca }: RpcTls,
  connections: ConnectionLimits,
  take: (socket: Socket) => Promise<void>,
): Listener {
  const sockets = new Set<Socket>()
  const places = createPlaces(connections)
  const free = connections.freeFrom.flatMap(text => parseNetwork(text) ?? [])
  let server: Server | undefined

  /** Behind a proxy are many. */
  function place({ remoteAddress = '' }: Socket): (() => void) | undefined {
    const address = parseAddress(remoteAddress) ?? remoteAddress
    return free.some(contains => contains(address)) ? () => {} : places.take(networkOf(address))
  }

  /** From the first byte, before TLS is done with it. */
  function count(socket: Socket): void {
    // Without a listener an error, such as a reset, would end the process.
    socket.on('error', () => {})
    const leave = sockets.size < connections.max ? place(socket) : undefined
    if (!leave) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.on('close', () => {
      if (sockets.delete(socket)) leave()
    })
    // It was closed on this side; whoever does not close the other one keeps nobody's place.
    socket.on('finish', () => void setTimeout(() => socket.destroy(), lingerMs).unref())
  }

  function handOver(socket: Socket): void {
    if (!socket.destroyed) take(socket).catch(() => socket.destroy())
  }

  function made(): Server {
    if (!own) return createServer(handOver)
    const mutual = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }
    try {
      const shaking = { minVersion: 'TLSv1.2', ALPNProtocols: ['h2'], handshakeTimeout: handshakeTimeoutMs } as const
      // Whoever does not shake hands is not closed by the library.
      return createTlsServer({ ...own, ...mutual, ...shaking }, handOver).on('tlsClientError', (_, socket) => socket.destroy())
    } catch (cause) {
      const why = (cause as Error).message
      throw new StartError(`rpc.tlsCertFile and rpc.tlsKeyFile do not make TLS: ${why}`, exitCodes.configuration, { cause })
    }
  }

  return {
    get size() {
      return sockets.size
    },
    async listen() {
      const listening = made().prependListener('connection', count)
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      listening.once('error', thrown => reject(new StartError(whyNot(thrown, options))))
      listening.listen({ host: options.host, port: options.port, exclusive: true }, resolve)
      await promise
      server = listening
      const address = listening.address()
      return typeof address === 'object' && address !== null ? address.port : options.port
    },
    async close() {
      const closing = server
      server = undefined
      if (closing) await new Promise<void>(resolve => closing.close(() => resolve()))
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** What was sent last is still on its way. */
const lingerMs = 2000
/** Whoever has not shaken hands by then is no caller. */
const handshakeTimeoutMs = 10_000
