import type { Ports } from '@/core/ports'
import type { Process, System } from './schema'

export type SystemBiz = ReturnType<typeof systemBiz>

/** What runs, and what is there. */
export function systemBiz({ processes, dependencies, log }: Pick<Ports, 'processes' | 'dependencies' | 'log'>) {
  /** Also while the database is away: who looks here then wants to know that. */
  async function get(): Promise<System> {
    const [listed, states] = await Promise.all([
      processes.list().catch(err => void log.warn('the processes could not be listed', { err })),
      dependencies.check(),
    ])
    const { version, id } = processes.own
    return { version, processId: id, ...(listed && { processes: listed as Process[] }), dependencies: states }
  }

  return { get }
}
