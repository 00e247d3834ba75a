import type { AnyModule, FaceName } from './module'

/** What a process can be started as. A role is a list: it names modules, and which of their faces it serves. */
export interface Role {
  readonly name: string
  /** One line for `bingo --help` and `bingo roles`. */
  readonly summary: string
  readonly modules: readonly AnyModule[]
  readonly serves: readonly FaceName[]
  /** The queues whose tasks it works, and how many at a time in each process. The handlers are those of its modules. */
  readonly works?: Readonly<Record<string, { concurrency: number }>>
}

export const defineRole = (role: Role): Role => role
