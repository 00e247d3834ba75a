import { keyTtlMs } from '@/core/idempotency'
import { type Database, UniqueViolation } from '@/core/database'

/**
 * The table of requests that must take effect once. A row is found by the digest of caller, route and key, and has these states:
 *
 * - `running`: somebody works on it, who has shown the row's `claim`, and nothing of it is committed. After the lease another may
 *   take it over, with a claim of its own; whoever had it before finds that out in the transaction of its effect.
 * - `carriedOut`: something of it is committed, or done outside the database, and the answer is not known yet, or never will be.
 * - `done`: the answer is there.
 */
export interface Claim {
  id: string
  /** Whoever shows it works on the request. */
  token: string
}

export type Found =
  | { is: 'claimed'; claim: Claim }
  | { is: 'other' }
  | { is: 'running' }
  | { is: 'lost' }
  /** @param answer closed for `id` */
  | { is: 'done'; answer: string }

/** Longer than any request may take; whoever is slower than that has no effect. */
export const leaseMs = 60_000
const attemptsMax = 5

type Sql = Pick<Database, 'run' | 'first' | 'all' | 'clock'>

/** Begins a request, or finds out what has become of it. */
export async function claimRequest({ run, first, clock }: Sql, id: string, fingerprint: string): Promise<Found> {
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const nowMs = clock.nowMs()
    const claim = { id, token: Bun.randomUUIDv7() }
    const values = [fingerprint, claim.token, nowMs + leaseMs, nowMs + keyTtlMs]
    try {
      await run(
        `insert into "idempotentRequest" ("fingerprint", "claim", "leaseUntilMs", "expiresAtMs", "state", "id") values (?, ?, ?, ?, 'running', ?)`,
        [...values, id],
      )
      return { is: 'claimed', claim }
    } catch (thrown) {
      if (!(thrown instanceof UniqueViolation)) throw thrown
    }
    const row = await first(`select * from "idempotentRequest" where "id" = ?`, [id], { from: 'primary' })
    if (!row) continue
    const isExpired = Number(row['expiresAtMs']) <= nowMs
    if (!isExpired && row['fingerprint'] !== fingerprint) return { is: 'other' }
    if (!isExpired && row['state'] === 'done') return { is: 'done', answer: String(row['answer']) }
    const isWorkedOn = Number(row['leaseUntilMs']) > nowMs
    if (!isExpired && isWorkedOn) return { is: 'running' }
    if (!isExpired && row['state'] === 'carriedOut') return { is: 'lost' }
    const { changes } = await run(
      `update "idempotentRequest" set "fingerprint" = ?, "claim" = ?, "leaseUntilMs" = ?, "expiresAtMs" = ?, "state" = 'running', "answer" = null where "id" = ? and "claim" = ? and "state" = ?`,
      [...values, id, String(row['claim']), String(row['state'])],
    )
    if (changes > 0) return { is: 'claimed', claim }
  }
  return { is: 'running' }
}

/**
 * Notes that the request has had an effect, in the transaction of it, and its answer where that is known.
 * @returns whether the claim is still good; if not, nothing of the effect may be kept
 */
export async function noteEffect({ run }: Pick<Sql, 'run'>, { id, token }: Claim, answer: string | undefined): Promise<boolean> {
  const { changes } = await run(`update "idempotentRequest" set "state" = ?, "answer" = ? where "id" = ? and "claim" = ?`, [
    answer === undefined ? 'carriedOut' : 'done',
    answer ?? null,
    id,
    token,
  ])
  return changes > 0
}

/** Gives a request back of which nothing is committed: it may be tried again. */
export async function release({ run }: Pick<Sql, 'run'>, { id, token }: Claim): Promise<void> {
  await run(`delete from "idempotentRequest" where "id" = ? and "claim" = ? and "state" = 'running'`, [id, token])
}

/** Removes what has expired, up to `countMax`. @returns how many */
export async function removeExpired({ run, all, clock }: Sql, countMax: number): Promise<number> {
  const nowMs = clock.nowMs()
  const found = await all(`select "id" from "idempotentRequest" where "expiresAtMs" <= ? order by "expiresAtMs" limit ${countMax}`, [nowMs])
  if (found.length === 0) return 0
  const marks = found.map(() => '?').join(', ')
  // Once more by time: one may have been begun anew.
  const { changes } = await run(`delete from "idempotentRequest" where "id" in (${marks}) and "expiresAtMs" <= ?`, [
    ...found.map(({ id }) => String(id)),
    nowMs,
  ])
  return changes
}
