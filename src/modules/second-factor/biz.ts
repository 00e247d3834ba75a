import { type Asking, askedBy } from '@/core/asking'
import { type Actor, type AuditEntry, type AuditLog, entryOn } from '@/core/audit'
import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { type AdminIdentity, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { notingRefusals } from '@/core/refusal'
import type { SessionBiz } from '@/modules/session'
import { isRecoveryCode, newRecoveryCodes, plain } from './recovery-code'
import { failuresMax, type SecondFactor, type SecondFactorRow, secondFactorErrors } from './schema'
import type { recoveryCodeStore, secondFactorStore } from './store'

/** What it writes into the audit log. */
export const audits = [
  'administrator.set-second-factor',
  'administrator.remove-second-factor',
  'administrator.renew-recovery-codes',
  // What needs a code.
  'admin-session.prove',
] as const

export type SecondFactorBiz = ReturnType<typeof secondFactorBiz>

/** What becomes of a code. */
export type Proof = 'right' | 'wrong' | 'blocked'

/** What the authenticator app is given, once. */
export interface Begun {
  /** In base32. */
  secret: string
  /** As https://github.com/google/google-authenticator/wiki/Key-Uri-Format has it. */
  otpauthUri: string
  /** A code of it has to come before. */
  expiresAt: string
}

type Needs = Pick<Ports, 'db' | 'clock' | 'log' | 'cipher' | 'totp' | 'throttle' | 'revocations' | 'settings'> & {
  factors: typeof secondFactorStore
  codes: typeof recoveryCodeStore
  sessions: Pick<SessionBiz, 'endAll'>
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record' | 'note'>
}

/** So long somebody may take between the seed and the first code. */
const setUpMaxMs = 15 * 60_000
const keyIdLength = 16
const primary = { from: 'primary' } as const
/** As the audit log has it. */
const auditedWith = { secondFactor: true } as const
const auditedWithout = { secondFactor: false } as const

/**
 * Second factors of administrators: an authenticator app (TOTP), and recovery codes for whoever has lost it. It knows administrators by
 * their ids only. Codes are good once, also of many at the same time.
 */
export function secondFactorBiz({ db, clock, log, cipher, totp, throttle, revocations, settings, factors, codes, sessions, audit }: Needs) {
  /** Of another root key when that has changed since. */
  const keyId = () => cipher.digest('second-factor key').slice(0, keyIdLength)
  const hashOf = (administratorId: string, code: string) => cipher.digest(`recovery-code ${administratorId} ${code}`)
  const contextOf = (administratorId: string) => `second-factor ${administratorId}`

  async function confirmed(administratorId: string): Promise<SecondFactorRow | undefined> {
    const row = await factors(db).find({ administratorId }, primary)
    return row?.confirmedAt === undefined ? undefined : row
  }

  /** Which one it is, another one each time that one is set up; undefined when there is none. */
  const idOf = async (administratorId: string): Promise<string | undefined> => (await confirmed(administratorId))?.id

  async function find(administratorId: string): Promise<SecondFactor | undefined> {
    const { confirmedAt } = (await confirmed(administratorId)) ?? {}
    if (confirmedAt === undefined) return undefined
    return { confirmedAt, recoveryCodesLeft: await codes(db).count({ administratorId }, primary) }
  }

  /**
   * Makes a seed, which counts for nothing before `confirm`. Whoever asks has just proven to know the password. One that was begun before
   * is void.
   * @throws SetUpAlready
   */
  async function begin({ id: administratorId, username }: Pick<AdminIdentity, 'id' | 'username'>): Promise<Begun> {
    if (await confirmed(administratorId)) throw secondFactorErrors.SetUpAlready()
    const seed = await totp.newSeed()
    const setUpUntil = toTimestamp(clock.nowMs() + setUpMaxMs)
    const sealedSeed = cipher.close(seed, contextOf(administratorId))
    await db.tx(async tx => {
      await factors(tx).deleteMany({ administratorId, confirmedAt: { isNull: true } })
      await factors(tx).create({ administratorId, sealedSeed, keyId: keyId(), setUpUntil, lastStep: 0, failures: 0 })
    })
    const otpauthUri = await totp.linkOf(seed, { issuer: settings.auth.issuer, account: username })
    return { secret: seed, otpauthUri, expiresAt: setUpUntil }
  }

  /**
   * The first code: from now on one is needed. Other sessions end, since they were begun without one.
   * @returns recovery codes, which nobody can be told again
   * @throws NotBegun, SetUpAlready, CodeWrong
   */
  async function confirm({ id: administratorId, sessionId }: AdminIdentity, given: string, asking: Asking): Promise<string[]> {
    const row = await factors(db).find({ administratorId }, primary)
    if (row?.confirmedAt !== undefined) throw secondFactorErrors.SetUpAlready()
    if (!row || row.setUpUntil <= toTimestamp(clock.nowMs())) throw secondFactorErrors.NotBegun()
    const step = await stepOf(row, plain(given))
    if (step === undefined)
      return notingRefusals(audit, askedBy(asking), entryOn('administrator.set-second-factor', administratorId), refuse)
    const recovery = newRecoveryCodes()
    await db.tx(async tx => {
      if (!(await factors(tx).confirm(row.id, step))) throw secondFactorErrors.NotBegun()
      await replaceCodes(tx, administratorId, recovery)
      await audit.record(tx, askedBy(asking), {
        ...entryOn('administrator.set-second-factor', administratorId),
        ...{ before: auditedWithout, after: auditedWith },
      })
      await sessions.endAll(tx, 'admin', administratorId, { except: sessionId })
      await revocations.forget(tx, [subjectOf('admin', administratorId)])
    })
    log.info('an administrator has set up a second factor', askedBy(asking))
    return recovery
  }

  /**
   * Uses a code up: of the app, or a recovery code. Guesses are counted, each before it is looked at.
   * @throws NotSetUp; ResourceExhausted while it is too early
   */
  async function prove(administratorId: string, given: string, address: string): Promise<Proof> {
    const row = await confirmed(administratorId)
    if (!row) throw secondFactorErrors.NotSetUp()
    let outcome: Proof = 'wrong'
    await throttle.guess({ purpose: 'admin code', account: administratorId, address }, async () => {
      outcome = await spend(row, plain(given))
      return outcome === 'right' ? outcome : undefined
    })
    return outcome
  }

  /**
   * The same of whoever has logged in; what they are refused is in the audit log.
   * @param entry what they need it for
   * @throws CodeWrong, CodesBlocked, NotSetUp; ResourceExhausted while it is too early
   */
  const demand = (administratorId: string, given: string, asking: Asking, entry: AuditEntry<(typeof audits)[number]>): Promise<void> =>
    notingRefusals(audit, askedBy(asking), entry, async () => {
      const outcome = await prove(administratorId, given, asking.address)
      if (outcome === 'blocked') throw secondFactorErrors.CodesBlocked()
      if (outcome === 'wrong') throw codeWrong()
    })

  async function spend(row: SecondFactorRow, code: string): Promise<Proof> {
    if (isRecoveryCode(code)) return (await spendRecoveryCode(row.administratorId, code)) ? 'right' : 'wrong'
    if (!(await factors(db).countFailure(row.id, failuresMax))) {
      log.warn('an administrator can log in with recovery codes only: too many codes were wrong', {
        object: subjectOf('admin', row.administratorId),
      })
      return 'blocked'
    }
    const step = await stepOf(row, code)
    return step !== undefined && (await factors(db).useStep(row.id, step)) ? 'right' : 'wrong'
  }

  async function spendRecoveryCode(administratorId: string, code: string): Promise<boolean> {
    const left = await db.tx(async tx => {
      const spent = await codes(tx).deleteMany({ administratorId, codeHash: hashOf(administratorId, code) })
      if (spent !== 1) return undefined
      await factors(tx).forgetFailures(administratorId)
      return codes(tx).count({ administratorId })
    })
    if (left === undefined) return false
    log.warn('an administrator has used a recovery code', { object: subjectOf('admin', administratorId), left })
    return true
  }

  async function stepOf({ administratorId, sealedSeed, keyId: sealedBy }: SecondFactorRow, code: string) {
    const seed = cipher.open(sealedSeed, contextOf(administratorId))
    if (seed !== undefined) return totp.stepOf(seed, code, clock.nowMs())
    const why = sealedBy === keyId() ? 'it was changed' : 'it was encrypted with another auth.key'
    log.error(`the seed of a second factor cannot be read, since ${why}; remove it with bingo admin remove-second-factor`, {
      object: subjectOf('admin', administratorId),
    })
    return undefined
  }

  /** The former ones are void. @returns the codes, which nobody can be told again. @throws as `demand` */
  async function renewCodes(administratorId: string, given: string, asking: Asking): Promise<string[]> {
    await demand(administratorId, given, asking, entryOn('administrator.renew-recovery-codes', administratorId))
    const recovery = newRecoveryCodes()
    await db.tx(async tx => {
      await replaceCodes(tx, administratorId, recovery)
      await audit.record(tx, askedBy(asking), {
        ...entryOn('administrator.renew-recovery-codes', administratorId),
      })
    })
    log.info('an administrator has new recovery codes', askedBy(asking))
    return recovery
  }

  async function replaceCodes(tx: Database, administratorId: string, recovery: readonly string[]): Promise<void> {
    await codes(tx).deleteMany({ administratorId })
    await codes(tx).createMany(recovery.map(code => ({ administratorId, codeHash: hashOf(administratorId, plain(code)) })))
  }

  /** By whoever has it. @throws as `demand` */
  async function remove(administratorId: string, given: string, asking: Asking): Promise<void> {
    await demand(administratorId, given, asking, entryOn('administrator.remove-second-factor', administratorId))
    await removeFor(administratorId, askedBy(asking))
  }

  /** For somebody who has lost it and all recovery codes, by an operator. Sessions end. @returns whether there was one */
  async function removeFor(administratorId: string, by: Actor, { endsSessions = false } = {}): Promise<boolean> {
    const isRemoved = await db.tx(async tx => {
      if (!(await removeAll(tx, administratorId))) return false
      await audit.record(tx, by, {
        ...entryOn('administrator.remove-second-factor', administratorId),
        ...{ before: auditedWith, after: auditedWithout },
      })
      if (endsSessions) await sessions.endAll(tx, 'admin', administratorId)
      await revocations.forget(tx, [subjectOf('admin', administratorId)])
      return true
    })
    if (isRemoved) log.info('the second factor of an administrator was removed', { ...by, object: subjectOf('admin', administratorId) })
    return isRemoved
  }

  /** Also of an administrator who is no more. @returns whether there was one that counts */
  async function removeAll(tx: Database, administratorId: string): Promise<boolean> {
    const row = await factors(tx).find({ administratorId }, primary)
    await codes(tx).deleteMany({ administratorId })
    const removed = row ? await factors(tx).deleteMany({ id: row.id }) : 0
    return removed > 0 && row?.confirmedAt !== undefined
  }

  return { idOf, find, begin, confirm, prove, demand, renewCodes, remove, removeFor, removeAll }
}

const refuse = async (): Promise<never> => {
  throw codeWrong()
}
const codeWrong = () => secondFactorErrors.CodeWrong({ problems: [{ pointer: '/code', detail: 'is wrong, or was used before' }] })
