/** Where what callers have used is written down: in Redis for all processes, or in the memory of one. */
export interface Ledger {
  /**
   * Takes up to `want` requests of a limit, to be used within `leaseMs`.
   * @param back what was taken and not used
   */
  lease(key: string, limit: number, want: number, back: Unused | undefined): Grant | Promise<Grant>
}

export interface Unused {
  count: number
  /** Of the grant that it is from. */
  bucket: number
}

export interface Grant {
  granted: number
  /** When it was, in buckets. */
  bucket: number
  /** What is left for others. */
  remaining: number
  /** When something that was used will be forgotten, in ms from now. */
  freedInMs: number
}

/**
 * A window that slides: what was used is counted in buckets, each of which is forgotten as a whole, when the last of it is older than
 * the window. What is leased may be used until the lease is over, so it is remembered for so much longer. Thus no more than the limit
 * is used within any window, wherever it begins; who always uses all gets 91 in 100 of it at least, since what is remembered is 66 s.
 */
export interface Span {
  windowMs: number
  bucketMs: number
  leaseMs: number
}

export const minute: Span = { windowMs: 60_000, bucketMs: 3000, leaseMs: 3000 }
