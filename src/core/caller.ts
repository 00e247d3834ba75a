import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * On whose behalf the code runs now, for reading one's own writes where reads may go to replicas: a caller sees what it has
 * written, others may see it a moment later. A request is a caller; so is the actor behind several requests.
 */
export interface Caller {
  /** Who is behind the request, once that is known; what it writes is remembered for its next requests. */
  actor?: string
  /** The last write of this caller: a replication position, or undefined when the server gave none. */
  written?: { position: string | undefined; atMs: number }
}

const callers = new AsyncLocalStorage<Caller>()

/** Runs `work` as one caller: one request, one task. */
export const asCaller = <T>(caller: Caller, work: () => T): T => callers.run(caller, work)

export const currentCaller = (): Caller | undefined => callers.getStore()
