import type { CacheEntry, CacheRule } from '@/core/cache'

/** Time and chance, so that a test can hold them still. */
export interface Timing {
  /** Milliseconds of a clock that is never set: one set back would let copies live longer. */
  nowMs: () => number
  /** At least 0, below 1. */
  random: () => number
}
export const systemTiming: Timing = { nowMs: () => performance.now(), random: Math.random }

const jitterMax = 0.1

/** How long a copy lives: what the rule says, `maxMs` at most, and up to a tenth less. */
export function lifeOf(entry: CacheEntry, rule: Life, random: () => number, maxMs = Number.POSITIVE_INFINITY): number {
  return Math.min(entry.value === undefined ? rule.absentTtlMs : rule.ttlMs, maxMs) * (1 - jitterMax * random())
}
type Life = Pick<CacheRule, 'ttlMs' | 'absentTtlMs'>

/**
 * How long the version of a write is remembered after it: longer than any load takes, so that what was read or written before it
 * and comes late is known to be old.
 */
export const rememberedMs = 30_000

/** What is known of a key: the version of its row, and whether there is a row. */
export interface Known {
  version: number
  isAbsent: boolean
}

/**
 * The version of what was forgotten: whether a write that says a version comes before or after, nobody can tell, so only what is
 * loaded from then on is kept.
 */
export const unknownVersion = 2 ** 53
export const forgotten: Known = { version: unknownVersion, isAbsent: false }

/** A row that was removed has the version that it had last, or the next: so of one version, removed is the later. */
export const isOlder = (version: number, known: Known): boolean => version < known.version || (version === known.version && known.isAbsent)

/** Without its version, what is there now cannot be told from what comes late: then it is forgotten. */
export const saysVersion = <T>(entry: CacheEntry<T> | undefined): entry is CacheEntry<T> =>
  entry !== undefined && (entry.value !== undefined || entry.version > 0)
