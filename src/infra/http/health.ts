import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import type { Readiness } from '@/core/service'

/** Something that the next request needs. Rejects when it is not there. */
export interface ReadinessCheck {
  name: string
  check(): Promise<void>
}

export interface Health {
  /** Whether the process lives. Asks nobody else: a database that is down must not get this process killed. */
  livez(): Response
  /** Whether the next request is welcome: 503 while starting, draining, or without what it needs. `?verbose` says what. */
  readyz(url: string): Promise<Response>
  /** As `readyz`. */
  isReady(): Promise<boolean>
}

const checkTimeoutMs = 2000
/** Probes come from many sides; the database is asked once for all of them. */
const freshMs = 500

/** @param more lines for `?verbose` that decide nothing */
export function createHealth(readiness: Readiness, checks: readonly ReadinessCheck[], log: Log, more: () => string[] = () => []): Health {
  const failing = new Set<string>()
  let last: { at: number; results: Promise<string[]> } | undefined

  /** Why it failed is for the log, once: the page is open to anyone who reaches the port. */
  async function outcome({ name, check }: ReadinessCheck): Promise<string> {
    try {
      await withDeadline(check(), checkTimeoutMs, () => new Error(`no answer within ${checkTimeoutMs} ms`))
      if (failing.delete(name)) log.info('back again', { check: name })
      return `[+]${name} ok`
    } catch (thrown) {
      if (!failing.has(name)) log.warn('not ready', { check: name, err: thrown })
      failing.add(name)
      return `[-]${name} failed`
    }
  }

  function results(): Promise<string[]> {
    const now = performance.now()
    if (!last || now - last.at > freshMs) last = { at: now, results: Promise.all(checks.map(outcome)) }
    return last.results
  }

  return {
    livez: () => plain('ok', 200),
    isReady: async () => readiness.state === 'ready' && (await results()).every(line => !line.startsWith('[-]')),
    async readyz(url) {
      const lines = await results()
      const failed = lines.filter(line => line.startsWith('[-]'))
      const isReady = readiness.state === 'ready' && failed.length === 0
      const summary = isReady ? 'ok' : readiness.state === 'ready' ? failed.join('\n') : readiness.state
      const isVerbose = new URL(url).searchParams.has('verbose')
      return plain(isVerbose ? [`process: ${readiness.state}`, ...lines, ...more()].join('\n') : summary, isReady ? 200 : 503)
    },
  }
}

const plain = (text: string, status: number) =>
  new Response(`${text}\n`, { status, headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' } })
