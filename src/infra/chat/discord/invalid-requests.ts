/**
 * Discord bars an address for which 401, 403 or 429 was the answer 10,000 times in 10 minutes:
 * https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
 * A process stops far before, since others may have the same address.
 */
export interface InvalidRequests {
  note(): void
  /** How long to ask nothing; 0 when it does not matter. */
  waitMs(): number
}

const invalidMax = 1000
const windowMs = 600_000

export function createInvalidRequests(nowMs: () => number): InvalidRequests {
  /** When each of the last ones was, in a ring. */
  const atMs = new Float64Array(invalidMax).fill(Number.NEGATIVE_INFINITY)
  let next = 0
  return {
    note() {
      atMs[next] = nowMs()
      next = (next + 1) % invalidMax
    },
    waitMs: () => Math.max(0, (atMs[next] as number) + windowMs - nowMs()),
  }
}
