import { withDeadline } from '@/core/deadline'
import type { Dependencies, DependencyState } from '@/core/dependencies'
import { AppError } from '@/core/error'
import type { OpenDatabase } from './database/driver'
import type { ReadinessCheck } from './http/health'
import type { OpenMailer } from './mail/open'
import type { QueueDriver } from './queue/driver'

/** What this process has opened. */
export interface Opened {
  db?: Pick<OpenDatabase, 'ping' | 'servers'> | undefined
  queue?: Pick<QueueDriver, 'ping'> | undefined
  mailer?: Pick<OpenMailer, 'ping'> | undefined
}

export const dependencyChecks = ({ db, queue, mailer }: Opened): ReadinessCheck[] => [
  ...(db ? (db.servers ?? [{ name: 'database', check: () => db.ping() }]) : []),
  ...(queue ? [{ name: 'queue', check: () => queue.ping() }] : []),
  ...(mailer ? [{ name: 'mail', check: () => mailer.ping() }] : []),
]

const checkTimeoutMs = 2000
/** Whoever asks again so soon gets the same answer: a mail server is not greeted for each look at a page. */
const freshMs = 1000

/** Unlike readiness it asks also what this process can do without for a while. */
export function createDependencies(checks: readonly ReadinessCheck[], timeoutMs = checkTimeoutMs): Dependencies {
  let last: { atMs: number; states: Promise<DependencyState[]> } | undefined
  return {
    check() {
      const nowMs = performance.now()
      if (!last || nowMs - last.atMs > freshMs) last = { atMs: nowMs, states: Promise.all(checks.map(each => stateOf(each, timeoutMs))) }
      return last.states
    },
  }
}

async function stateOf({ name, check }: ReadinessCheck, timeoutMs: number): Promise<DependencyState> {
  const askedMs = performance.now()
  const latencyMs = () => Math.round((performance.now() - askedMs) * 1000) / 1000
  try {
    await withDeadline(check(), timeoutMs, () => Object.assign(new Error('no answer in time'), { code: 'Timeout' }))
    return { name, isReady: true, latencyMs: latencyMs() }
  } catch (thrown) {
    return { name, isReady: false, latencyMs: latencyMs(), error: codeOf(thrown) }
  }
}

/** What drivers say names hosts and users, so only what has the form of a code is shown: of ours, or of what it was caused by. */
function codeOf(thrown: unknown): string {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { code } = at as { code?: unknown }
    if (!(at instanceof AppError) && typeof code === 'string' && /^\w{1,64}$/.test(code)) return code
  }
  return thrown instanceof AppError ? thrown.code : 'Failed'
}
