import type { CacheChange } from '@/core/cache'
import { saysVersion, type Timing } from './timing'

/**
 * Writes that Redis has not been told of: it may hold what was there before, so this process does not ask it for these keys until
 * it has been told, or until the oldest copy there can be has ended.
 */
export interface Suspects {
  readonly size: number
  has(key: string): boolean
  add(change: CacheChange): void
  /** The oldest of them. */
  next(limit: number): Suspect[]
  /** Redis has been told. */
  clear(told: readonly Suspect[]): void
}

export interface Suspect {
  key: string
  isSecret: boolean
  /** Absent where the key is only forgotten. */
  version: number | undefined
  isAbsent: boolean
  untilMs: number
}

/** About 3 MB of them. */
const suspectsMax = 10_000

export function createSuspects(timing: Timing): Suspects {
  const suspects = new Map<string, Suspect>()
  /** All keys are suspect until then. */
  let allUntilMs = 0

  return {
    get size() {
      return suspects.size
    },
    has(key) {
      if (suspects.size === 0 && allUntilMs === 0) return false
      const now = timing.nowMs()
      if (now < allUntilMs) return true
      const suspect = suspects.get(key)
      return suspect !== undefined && now < suspect.untilMs
    },
    add({ key, entry, rule }) {
      const untilMs = timing.nowMs() + Math.max(rule.ttlMs, rule.absentTtlMs)
      const known = suspects.get(key)
      if (!known && suspects.size >= suspectsMax) {
        allUntilMs = Math.max(allUntilMs, untilMs)
        return
      }
      const suspect = { key, isSecret: rule.isSecret, version: undefined, isAbsent: false, untilMs }
      if (!saysVersion(entry) || (known && known.version === undefined)) suspects.set(key, suspect)
      // Two that came late may have come in either order.
      else if (known?.version !== undefined && known.version > entry.version) suspects.set(key, { ...known, untilMs })
      else suspects.set(key, { ...suspect, version: entry.version, isAbsent: entry.value === undefined })
    },
    next(limit) {
      const now = timing.nowMs()
      const found: Suspect[] = []
      for (const suspect of suspects.values()) {
        if (found.length >= limit) break
        if (now < suspect.untilMs) found.push(suspect)
        else suspects.delete(suspect.key)
      }
      return found
    },
    clear(told) {
      for (const suspect of told) {
        // Unless it was written again meanwhile.
        if (suspects.get(suspect.key) === suspect) suspects.delete(suspect.key)
      }
    },
  }
}
