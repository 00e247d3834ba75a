import { StartError } from './error'
import { type AnyModule, type FaceName, withUsed } from './module'
import type { Rate } from './queue/limit'
import type { TaskMiddleware } from './queue/task'

/** What a process can be started as. A role is a list: it names modules, and which of their faces it serves. */
export interface Role {
  readonly name: string
  /** One line for `bingo --help` and `bingo roles`. */
  readonly summary: string
  readonly modules: readonly AnyModule[]
  readonly serves: readonly FaceName[]
  /** The queues whose tasks it works, and how. The handlers are those of its modules. */
  readonly works?: Works
  /** Slots that several of its queues share, by a name of their own. */
  readonly pools?: Readonly<Record<string, PoolRule>>
  /** Around each attempt of its queues, the first outermost. */
  readonly middleware?: readonly TaskMiddleware[]
  /** Enqueues what is due by schedules: those of its modules, and those in the database, whose tasks its modules declare. */
  readonly firesSchedules?: true
}

export type Works = Readonly<Record<string, QueueRule>>

export type QueueRule = QueueSlots & SharedRule

/** What holds of a queue in all processes: roles that work the same queue say the same. */
export interface SharedRule {
  /** How many of its tasks at a time over all processes, 1–1,000,000. */
  readonly concurrencyMax?: number
  /** How many attempts are started, over all processes. */
  readonly rate?: Rate
  /**
   * While so many wait, are scheduled or held, `enqueue` throws QueueFull. 1–1,000,000,000. Asked once for up to 1,000 that are enqueued in one
   * call, once for a whole chain or batch, and not for what is retried or moved: so many more there may be.
   */
  readonly backlogMax?: number
  /** Dead letters that are older are removed, 1–31,536,000,000 ms (a year); never when absent. */
  readonly keepDeadMs?: number
}

/**
 * How many of its tasks at a time in each process: `concurrency` of its own, 1–9999, or slots of a pool. There the queues with work take turns by
 * their weights, 1–1000, 1 by default: of those that have work, one of weight 3 has three starts to one of weight 1. In a strict pool the
 * larger weight goes first, always.
 */
export type QueueSlots = { readonly concurrency: number } | { readonly pool: string; readonly weight?: number }

export interface PoolRule {
  /** In each process, 1–9999. */
  readonly concurrency: number
  /** `weighted` by default. */
  readonly order?: 'weighted' | 'strict'
}

export const defineRole = (role: Role): Role => role

/**
 * Refuses tasks that nobody would do: they would wait for ever, or die, and whoever has enqueued them would not know.
 * @param roles all that there are, since what one enqueues another works
 * @throws StartError with the file that lacks the module or the queue
 */
export function refuseIdleTasks(roles: readonly Role[]): void {
  for (const module of withUsed(roles.flatMap(({ modules }) => modules))) {
    for (const { name, defaults } of module.tasks ?? []) {
      const { queue } = defaults
      const working = roles.filter(({ works = {} }) => Object.hasOwn(works, queue))
      if (working.some(({ modules }) => modules.includes(module))) continue
      const remedy =
        working.length > 0
          ? `add ${module.name} to the modules of ${working.map(fileOf).join(' or ')}, which works that queue`
          : `no role works that queue; name it in the works of one that has the module ${module.name}, such as ${
              roles
                .filter(({ works }) => works)
                .map(fileOf)
                .join(' or ') || 'roles/scheduler.ts'
            }`
      throw new StartError(`nobody would do the task ${name} of the queue ${queue}: ${remedy}`)
    }
  }
}

/** Where a role is. */
export const fileOf = ({ name }: Pick<Role, 'name'>): string => `roles/${name}.ts`
