import { exitCodes, StartError } from './error'
import { type AnyModule, type FaceName, withUsed } from './module'
import type { Rate, TaskMiddleware } from './queue/task'

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
}

export type Works = Readonly<Record<string, QueueRule>>

/** How a queue is worked. All of it but the first two lines is the same in all processes. */
export type QueueRule = QueueSlots & {
  /** Over all processes. */
  readonly concurrencyMax?: number
  /** How many attempts are started, over all processes. */
  readonly rate?: Rate
  /** While so many wait, are scheduled or held, `enqueue` throws QueueFull. */
  readonly backlogMax?: number
  /** Dead letters that are older are removed; never when absent. */
  readonly keepDeadMs?: number
}

/**
 * How many of its tasks at a time in each process: `concurrency` of its own, or slots of a pool. There the queues with work take turns by
 * their weights, 1–1000, 1 by default: of those that have work, one of weight 3 has three starts to one of weight 1. In a strict pool the
 * larger weight goes first, always.
 */
export type QueueSlots = { readonly concurrency: number } | { readonly pool: string; readonly weight?: number }

export interface PoolRule {
  readonly concurrency: number
  /** `weighted` by default. */
  readonly order?: 'weighted' | 'strict'
}

export const defineRole = (role: Role): Role => role

/** The queues that roles work, each with how many tasks at a time; the larger number where two of one process do. */
export function worksOf(roles: readonly Role[]): Record<string, { concurrency: number }> {
  const works: Record<string, { concurrency: number }> = {}
  for (const role of roles) {
    for (const [queue, rule] of Object.entries(role.works ?? {})) {
      const { concurrency } = rule as { concurrency: number }
      works[queue] = { concurrency: Math.max(concurrency, works[queue]?.concurrency ?? 0) }
    }
  }
  return works
}

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

const fileOf = ({ name }: Role) => `roles/${name}.ts`

/**
 * The same with the numbers of the setting `queue.concurrency`, `mail:4`, in the place of the roles'. It may name queues that other
 * processes work, since all may share a file.
 * @param queues all that there are
 * @throws StartError with exit code 78 for one that there is not, or that is said twice
 */
export function withConcurrency(
  works: Record<string, { concurrency: number }>,
  queues: readonly string[],
  said: readonly string[] = [],
): Record<string, { concurrency: number }> {
  const refuse = (what: string) => new StartError(`queue.concurrency: ${what}; queues are ${queues.join(', ')}`, exitCodes.configuration)
  const numbers = new Map<string, number>()
  for (const one of said) {
    const [queue = '', number = ''] = one.split(':')
    if (!queues.includes(queue)) throw refuse(`no role works a queue ${JSON.stringify(queue)}`)
    if (numbers.has(queue)) throw refuse(`${queue} is said twice`)
    numbers.set(queue, Number(number))
  }
  return Object.fromEntries(
    Object.entries(works).map(([queue, { concurrency }]) => [queue, { concurrency: numbers.get(queue) ?? concurrency }]),
  )
}
