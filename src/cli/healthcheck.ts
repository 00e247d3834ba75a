import { opsPort } from '@/core/config/settings'
import { originOf } from '@/infra/http/server'
import { type Command, configOf } from './command'
import { rolesNamed } from './roles'

const timeoutMs = 3000
/** A server that listens on every address is asked on the loopback one. */
const everywhere: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

export const healthcheckCommand: Command = {
  name: 'healthcheck',
  usage: '[--role=…]',
  summary: 'Asks the process on this machine whether it lives; exits 0 or 1.',
  async run(args) {
    const { config } = configOf(args)
    const port = opsPort(config, rolesNamed(config.role ?? 'all')[0]?.name ?? '')
    const url = `${originOf(everywhere[config.ops.host] ?? config.ops.host, port)}/livez`
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
      if (response.ok) return 0
      console.error(`bingo: ${url} answers ${response.status}`)
    } catch (thrown) {
      console.error(`bingo: ${url} does not answer: ${(thrown as Error).message}; is the process running with this role and ops.port?`)
    }
    return 1
  },
}
