/** When the next guess may be made: computed, with nothing read or written. Instants are milliseconds since 1970. */

import { networksPerSite } from '@/core/address'

/** What is counted of one account at one address, of one address, of the network that it is in, or of one account. */
export interface Count {
  failures: number
  /** From then on failures are forgotten, one each `forgetMs`. */
  sinceMs: number
  /** Not before. */
  nextAtMs: number
}

export interface Rule {
  /** So many failures cost nothing; the last of them starts the first delay, and each further one doubles it. */
  free: number
  delayMaxMs: number
  /** One failure is forgotten in so long, and all of them within a day in which nothing is guessed. */
  forgetMs: number
}

const minuteMs = 60_000
const firstDelayMs = 1000

export const rules = {
  /** Of an account at an address: who has forgotten a password tries a few, and a program is soon at 4 in an hour. */
  pair: { free: 5, delayMaxMs: 15 * minuteMs, forgetMs: 90 * minuteMs },
  /**
   * Of an address over all accounts: many honest people may share one, and are let in, which is not counted. Who has been let in from it is
   * spared.
   */
  address: { free: 20, delayMaxMs: 15 * minuteMs, forgetMs: 10 * minuteMs },
  /** Of a /48 of IPv6 over all accounts. */
  site: { free: networksPerSite * 20, delayMaxMs: 15 * minuteMs, forgetMs: (10 * minuteMs) / networksPerSite },
  /** Of an account over all addresses. A delay that others can cause is short, and spares addresses that have been let in. */
  account: { free: 20, delayMaxMs: minuteMs, forgetMs: 10 * minuteMs },
} as const satisfies Record<string, Rule>

/** More are not counted: the delay would not grow, and forgetting would take longer. */
const failuresMax = ({ free, delayMaxMs }: Rule): number => free + Math.ceil(Math.log2(delayMaxMs / firstDelayMs))

function delayMs(failures: number, { free, delayMaxMs }: Rule): number {
  return failures < free ? 0 : Math.min(delayMaxMs, firstDelayMs * 2 ** (failures - free))
}

/** What is left of it by now. */
export function leftOf(count: Count, { forgetMs }: Rule, nowMs: number): Count {
  const forgotten = Math.max(0, Math.floor((nowMs - count.sinceMs) / forgetMs))
  if (forgotten >= count.failures) return { failures: 0, sinceMs: nowMs, nextAtMs: 0 }
  return { ...count, failures: count.failures - forgotten, sinceMs: count.sinceMs + forgotten * forgetMs }
}

/** How long to wait before the next guess; 0 for not at all. A clock that was set back makes it no longer than the delay. */
export const waitMs = ({ failures, nextAtMs }: Count, rule: Rule, nowMs: number): number =>
  Math.max(0, Math.min(nextAtMs - nowMs, delayMs(failures, rule)))

/** One failure more. */
export function failed({ failures, sinceMs }: Count, rule: Rule, nowMs: number): Count {
  const more = Math.min(failures + 1, failuresMax(rule))
  return { failures: more, sinceMs, nextAtMs: nowMs + delayMs(more, rule) }
}

/** Without the failure that has made it `counted`, whatever else was counted since. */
export const takenBack = ({ failures, sinceMs, nextAtMs }: Count, counted: Count): Count => ({
  failures: Math.max(0, failures - 1),
  sinceMs,
  nextAtMs: nextAtMs === counted.nextAtMs ? 0 : nextAtMs,
})

/** From when on nothing is left of it. */
export const forgottenAtMs = ({ failures, sinceMs }: Count, { forgetMs }: Rule): number => sinceMs + failures * forgetMs
