import type { Server } from 'bun'
import { variableOf } from '@/core/config/leaf'
import { StartError } from '@/core/error'
import type { Service } from '@/core/service'

export interface ListenOptions {
  host: string
  /** 0 = any free port. */
  port: number
  /** The setting that a person changes when the port is taken: `http.port`. */
  setting: string
}

/** A request that sends or takes nothing for so long is cut off (slow clients hold connections). */
export const idleTimeoutSeconds = 30
/** Above every limit of ours, so that it is our 413 that a client gets, which says why. */
export const bunBodyLimitBytes = 2 ** 40

/** A server that a service starts and stops. */
export interface ListeningService extends Service {
  /** Where it listens, once started: `http://127.0.0.1:8080`. */
  readonly url: string
}

/**
 * @param listen throws when the port is taken
 * @param stopping called when it has stopped accepting: what goes on without end must end then
 */
export function listeningService(
  name: string,
  options: ListenOptions,
  listen: () => Server<unknown>,
  stopping = () => {},
): ListeningService {
  let server: Server<unknown> | undefined
  let url = ''
  return {
    name,
    get url() {
      return url
    },
    async start() {
      try {
        server = listen()
        url = originOf(options.host, server.port ?? options.port)
      } catch (thrown) {
        throw new StartError(whyNot(thrown, options))
      }
    },
    async stop() {
      // Stops accepting at once, closes idle connections, resolves when what is in flight has been answered.
      const stopped = server?.stop()
      server = undefined
      stopping()
      await stopped
    },
  }
}

export const originOf = (host: string, port: number): string => `http://${host.includes(':') ? `[${host}]` : host}:${port}`

/** Why nobody can listen there, and what to do about it. */
export function whyNot(thrown: unknown, { host, port, setting }: ListenOptions): string {
  const code = (thrown as NodeJS.ErrnoException).code
  const variable = variableOf(setting.split('.'))
  if (code === 'EADDRINUSE')
    return `port ${port} on ${host} is in use; stop what uses it, or choose another with --${setting} or ${variable}`
  if (code === 'EACCES') return `port ${port} may not be used without privileges; choose one from 1024 with --${setting} or ${variable}`
  return `cannot listen on ${host}:${port}: ${(thrown as Error).message}; check --${setting}`
}
