/** Something outside that this process works with. */
export interface DependencyState {
  /** `database`, `queue`, `mail`. */
  readonly name: string
  readonly isReady: boolean
  /** How long the answer took; milliseconds. */
  readonly latencyMs: number
  /** Why not, as a code, which names no address and no user: `ECONNREFUSED`, `Timeout`. The log says more. */
  readonly error?: string
}

/** Asks all that this process works with whether it is there, as its next task or request would find it. */
export interface Dependencies {
  /** Answers within some seconds whatever is away. Callers at the same time share one question. */
  check(): Promise<DependencyState[]>
}
