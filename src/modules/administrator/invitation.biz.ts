import { dayMs, toTimestamp } from '@/core/clock'
import { mintCode, parseCode } from '@/core/code'
import type { Database } from '@/core/database'
import type { Ports } from '@/core/ports'
import { administratorErrors, type Invitation } from './schema'
import type { invitationStore } from './store'

export type InvitationBiz = ReturnType<typeof invitationBiz>

/** Whoever gets one may not be at work today. */
export const invitationTtlMs = 2 * dayMs

/** Of a code that is right. Whether its maker may still do so is for whoever spends it to say. */
export interface Checked {
  id: string
  version: number
  administratorId: string
  /** Undefined for the command line. */
  makerId: string | undefined
}

/**
 * Codes with which administrators choose their own password, so that nobody chooses it for them: random, kept as hashes, shown once to
 * whoever makes one, good once and not for long.
 */
export function invitationBiz({ db, clock, invitations }: Pick<Ports, 'db' | 'clock'> & { invitations: typeof invitationStore }) {
  /**
   * One that the administrator had is void.
   * @param makerId of the administrator who makes it; undefined for the command line
   */
  async function mint(tx: Database, administratorId: string, makerId: string | undefined): Promise<Invitation> {
    const { code, handle, codeHash } = mintCode()
    const expiresAt = toTimestamp(clock.nowMs() + invitationTtlMs)
    await removeAll(tx, administratorId)
    await invitations(tx).create({ administratorId, handle, codeHash, expiresAt, ...(makerId !== undefined && { makerId }) })
    return { code, expiresAt }
  }

  /**
   * Whose a code is. Nobody guesses one, so guesses are not counted.
   * @returns what `spend` takes
   * @throws InvitationInvalid
   */
  async function check(code: string): Promise<Checked> {
    const given = parseCode(code)
    const row = given && (await invitations(db).find({ handle: given.handle }, { from: 'primary' }))
    // The hashes are of random texts, so where they differ tells nobody anything.
    const isRight = row && row.codeHash === given?.codeHash && row.expiresAt > toTimestamp(clock.nowMs())
    if (!isRight) throw invalid()
    return { id: row.id, version: row.version, administratorId: row.administratorId, makerId: row.makerId }
  }

  /** Uses a code up, in the transaction of what it is good for: of many at the same time one comes through. @throws InvitationInvalid */
  async function spend(tx: Database, { id, version }: Pick<Checked, 'id' | 'version'>): Promise<void> {
    if ((await invitations(tx).deleteMany({ id, version })) !== 1) throw invalid()
  }

  /** Of an administrator who is no more, is not what they were invited as, or has chosen a password by other means. */
  async function removeAll(tx: Database, administratorId: string): Promise<void> {
    await invitations(tx).deleteMany({ administratorId })
  }

  return { mint, check, spend, removeAll, invalid }
}

/** Says nothing of why. */
const invalid = () => administratorErrors.InvitationInvalid({ problems: [{ pointer: '/code', detail: 'is not valid, or not any more' }] })
