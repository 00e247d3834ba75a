import { AsyncLocalStorage } from 'node:async_hooks'
import type { Once } from './idempotency'

/**
 * On whose behalf the code runs now, for reading one's own writes where reads may go to replicas: a caller sees what it has
 * written, others may see it a moment later. A request is a caller; so is the actor behind several requests. A caller is short:
 * what its actor writes elsewhere in the meantime it may see later.
 */
export interface Caller {
  /** Who is behind the request, once that is known; what it writes from then on is remembered for its next requests. */
  actor?: string
  /** The last write of this caller. Databases set it. */
  written?: Written
  /** What its log lines are found by; goes on with the tasks that it enqueues. */
  requestId?: string
  /** The trace that it is part of (W3C Trace Context), which goes on with them too. */
  traceparent?: string
  /** When nobody waits for it any more, in milliseconds since 1970: calls to other services take no longer. */
  deadlineAtMs?: number
  /** Set while it is a request that must take effect once only. */
  once?: Once
}

/** A write that is committed. */
export interface Written {
  /** Where it stands in the primary's log, a GTID; undefined when the server did not say. */
  position: string | undefined
  /** Milliseconds since 1970. */
  atMs: number
}

/** For so long after a write its caller, and the actor behind it, reads nothing older. */
export const ownWritesMs = 10_000

/** The last write of each actor, for its next request, which another process may get. Forgotten after `ownWritesMs`. */
export interface WritePositions {
  /** Resolves when every process sees it. Called before the write is answered, so it gives up soon. */
  note(actor: string, written: Written): Promise<void>
  /** Rejects when it cannot be known; the primary is read then. */
  of(actor: string): Promise<Written | undefined>
}

const callers = new AsyncLocalStorage<Caller>()

/** Runs `work` as one caller: one request, one task. */
export const asCaller = <T>(caller: Caller, work: () => T): T => callers.run(caller, work)

export const currentCaller = (): Caller | undefined => callers.getStore()
