import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Ports } from '@/core/ports'
import { mintCode, parseCode } from '@/core/code'
import { attemptsMax, codeErrors, type CodePurpose } from './schema'
import type { userCodeStore } from './store'

export type UserCodeBiz = ReturnType<typeof userCodeBiz>

/** Whose a code is, what for, and where it goes. */
export interface Holder {
  userId: string
  purpose: CodePurpose
  email: string
}

const hourMs = 3_600_000
/** Whoever asks to reset a password is waiting for it; an address may be verified when there is time. */
const lifetimesMs: Record<CodePurpose, number> = { verifyEmail: 48 * hourMs, resetPassword: hourMs / 2 }

/** Codes that are sent to an address, and given back by whoever reads its mail: random, kept as hashes, good once and not for long. */
export function userCodeBiz({ db, clock, codes }: Pick<Ports, 'db' | 'clock'> & { codes: typeof userCodeStore }) {
  /** Makes a code; one that the user had for this purpose is void. @returns the code, which nobody can be told again */
  async function mint({ userId, purpose, email }: Holder): Promise<{ code: string; expiresAt: string }> {
    const { code, handle, codeHash } = mintCode()
    const expiresAt = toTimestamp(clock.nowMs() + lifetimesMs[purpose])
    await codes(db).upsert({ userId, purpose, handle, email, codeHash, attempts: 0, expiresAt }, ['userId', 'purpose'])
    return { code, expiresAt }
  }

  /**
   * Whose a code is. The guess is counted before it is looked at, so that of many at once no more than `attemptsMax` are.
   * @returns what `spend` takes
   * @throws CodeInvalid
   */
  async function check(purpose: CodePurpose, code: string): Promise<Omit<Holder, 'purpose'> & { id: string; version: number }> {
    const given = parseCode(code)
    if (!given || !(await codes(db).countAttempt(given.handle, attemptsMax))) throw invalid()
    const row = await codes(db).find({ handle: given.handle }, { from: 'primary' })
    // The hashes are of random texts, so where they differ tells nobody anything.
    const isRight = row?.codeHash === given.codeHash && row.purpose === purpose && row.expiresAt > toTimestamp(clock.nowMs())
    if (!row || !isRight) throw invalid()
    await codes(db).takeAttemptBack(given.handle)
    return { id: row.id, version: row.version, userId: row.userId, email: row.email }
  }

  /**
   * Uses a code up, in the transaction of what it is good for: of many at the same time one comes through.
   * @throws CodeInvalid when it was used, or another has taken its place
   */
  async function spend(tx: Database, { id, version }: { id: string; version: number }): Promise<void> {
    if ((await codes(tx).deleteMany({ id, version })) !== 1) throw invalid()
  }

  /** Whether one was made within so many milliseconds, and is not used yet. */
  async function isRecent({ userId, purpose, email }: Holder, withinMs: number): Promise<boolean> {
    const expiresAt = { gt: toTimestamp(clock.nowMs() + lifetimesMs[purpose] - withinMs) }
    return codes(db).exists({ userId, purpose, email, expiresAt }, { from: 'primary' })
  }

  /** Of a user who is no more; or of one purpose, which are void then. */
  async function removeAll(tx: Database, userId: string, purpose?: CodePurpose): Promise<void> {
    await codes(tx).deleteMany({ userId, ...(purpose !== undefined && { purpose }) })
  }

  /** Removes up to so many that have expired, 1–100. @returns how many */
  async function removeExpired(countMax: number): Promise<number> {
    const expired = { expiresAt: { lte: toTimestamp(clock.nowMs()) } }
    const { items } = await codes(db).list({ where: expired, pageSize: countMax, select: ['id'], from: 'primary' })
    // One that was made anew meanwhile stays.
    return items.length === 0 ? 0 : codes(db).deleteMany({ ...expired, id: { in: items.map(({ id }) => id) } })
  }

  return { mint, check, spend, isRecent, removeAll, removeExpired }
}

const invalid = () => codeErrors.CodeInvalid({ problems: [{ pointer: '/code', detail: 'is not valid, or not any more' }] })
