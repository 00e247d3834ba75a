import { admin, decide } from '@/core/access'
import type { Asking } from '@/core/asking'
import type { Ports } from '@/core/ports'
import { processesText, rolesText } from './health-text'
import type { Process, System } from './schema'

export type SystemBiz = ReturnType<typeof systemBiz>

/** Who may see more than whether something of each role runs. */
export const permission = 'system:read'

/** What runs, and what is there. */
export function systemBiz({ processes, dependencies, clock, log }: Pick<Ports, 'processes' | 'dependencies' | 'clock' | 'log'>) {
  /** Also while the database is away: who looks here then wants to know that. */
  async function get(): Promise<System> {
    const [listed, states] = await Promise.all([
      processes.list().catch(err => void log.warn('the processes could not be listed', { err })),
      dependencies.check(),
    ])
    const { version, id } = processes.own
    return { version, processId: id, ...(listed && { processes: listed as Process[] }), dependencies: states }
  }

  /**
   * In a few lines for people: for those who may see it with every process, unless others read it; for all others without hosts and versions.
   */
  async function healthText({ identity }: Asking, { isPrivate }: { isPrivate: boolean }): Promise<string> {
    const maySeeAll = (await decide(identity, [admin(permission)], {})) === undefined
    const { roleNames } = processes
    if (maySeeAll && !isPrivate) return `${rolesText(roleNames, await processes.list())}\n\nAsk me in a private chat to see more.`
    return maySeeAll ? processesText(roleNames, await get(), clock.nowMs()) : rolesText(roleNames, await processes.list())
  }

  return { get, healthText }
}
