/** Time as a port, so that a test can hold it still. */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC. */
  nowMs(): number
}

export const systemClock: Clock = { nowMs: Date.now }

/** An RFC 3339 instant in UTC with milliseconds, as it stands on the wire: `2026-01-31T09:05:00.000Z`. */
export const toTimestamp = (ms: number): string => new Date(ms).toISOString()
