import type { Sample } from './measure'
import { cpuMicros, must } from './process'

/** Load by wrk, and what the server spent on it. */
const connections = 32

export interface Load {
  url: string
  /** Lua that says what is sent: wrk's `request` and `wrk.*`. */
  script: string
  /** What the script gets in `args`. */
  scriptArguments?: readonly string[]
  seconds: number
}

export function requireWrk(): void {
  if (Bun.which('wrk')) return
  throw new Error('wrk is not there; it makes the load (Debian: apt install wrk, elsewhere https://github.com/wg/wrk)')
}

/** @throws when one answer was not 2xx or a connection failed: a fast error is not a fast answer */
export async function load(serverPid: number, { url, script, scriptArguments = [], seconds }: Load): Promise<Sample> {
  const before = cpuMicros(serverPid)
  const options = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', script]
  const text = await must(['wrk', ...options, url, '--', ...scriptArguments], { core: 'load' })
  const spent = cpuMicros(serverPid) - before
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
  if (/Non-2xx|Socket errors/.test(text) || !(requests > 0)) throw new Error(`${url} did not answer all requests well:\n${text}`)
  return { perSecond, cpuMicros: spent / requests }
}
