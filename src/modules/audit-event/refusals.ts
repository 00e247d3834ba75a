import type { Actor } from '@/core/audit'
import { networkOf } from '@/core/address'
import type { Clock } from '@/core/clock'

/** Of one actor, or of one network for those whom nobody knows, in a minute. */
export const refusalsPerActorMax = 10
/** Of all who are known, and as many of all whom nobody knows, in a minute; of each process. */
export const refusalsPerMinuteMax = 100
const minuteMs = 60_000
/** Of what was left out so many are named; there are as many networks as strangers want. */
const namedMax = 20

/** How many were left out, since when, and of whom. */
export interface LeftOut {
  count: number
  sinceMs: number
  /** By actor, those with the most first; of the others the count alone is told. */
  known: Record<string, number>
  /** Of those whom nobody knows. */
  strangers: number
}

/**
 * So many refusals are written down in a minute, and the others are counted: a flood of them must not fill the log, nor hold up those who do
 * something. Each actor has a share, so that whoever floods does not hide the others; strangers, who can be as many as they like, have one of
 * their own together, so that they do not hide what administrators are refused.
 */
export function createRefusals(clock: Clock) {
  let startedMs = Number.NEGATIVE_INFINITY
  const written = { known: new Map<string, number>(), strangers: new Map<string, number>() }
  const all = { known: 0, strangers: 0 }
  let leftOut: { sinceMs: number; strangers: number; known: Map<string, number> } | undefined

  return {
    /** @returns whether this one is written down; else it is counted */
    take({ actor, address }: Actor): boolean {
      const nowMs = clock.nowMs()
      if (nowMs - startedMs >= minuteMs || nowMs < startedMs) {
        startedMs = nowMs
        for (const kind of ['known', 'strangers'] as const) {
          all[kind] = 0
          written[kind].clear()
        }
      }
      const kind = actor === undefined ? 'strangers' : 'known'
      const who = actor ?? networkOf(address)
      const own = written[kind].get(who) ?? 0
      if (all[kind] >= refusalsPerMinuteMax || own >= refusalsPerActorMax) {
        leftOut ??= { sinceMs: nowMs, strangers: 0, known: new Map() }
        if (actor === undefined) leftOut.strangers++
        else leftOut.known.set(actor, (leftOut.known.get(actor) ?? 0) + 1)
        return false
      }
      all[kind]++
      written[kind].set(who, own + 1)
      return true
    },
    /** What was left out since it was asked last. */
    takeLeftOut(): LeftOut | undefined {
      if (!leftOut) return undefined
      const { sinceMs, strangers, known } = leftOut
      leftOut = undefined
      const sorted = [...known].toSorted(([, a], [, b]) => b - a)
      const count = sorted.reduce((sum, [, some]) => sum + some, strangers)
      return { count, sinceMs, known: Object.fromEntries(sorted.slice(0, namedMax)), strangers }
    },
  }
}
