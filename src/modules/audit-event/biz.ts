import { askedBy } from '@/core/asking'
import type { Actor, AuditEntry, AuditLog } from '@/core/audit'
import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import type { DenialWitness } from '@/core/denial'
import { AppError } from '@/core/error'
import type { Ports } from '@/core/ports'
import { beginning, type Ends, hashOf, headDigest, isHeadTrue, isUnbegun } from './chain'
import { written } from './entry'
import { createRefusals } from './refusals'
import { type AuditHeadRow, auditErrors } from './schema'
import type { Sighting } from './sighting.biz'
import type { auditEventStore, auditHeadStore } from './store'

export type AuditWriteBiz = ReturnType<typeof auditEventBiz>

/** What was left out is written down so much later at most. */
const leftOutAfterMs = 60_000

/** Writes down what is done, in a chain that shows when something of it was changed, taken out or put in. */
export function auditEventBiz({
  db,
  clock,
  cipher,
  log,
  events,
  heads,
  sighting,
}: Pick<Ports, 'db' | 'clock' | 'cipher' | 'log'> & {
  events: typeof auditEventStore
  heads: typeof auditHeadStore
  sighting: Sighting
}): AuditLog<string> & { denials: DenialWitness } {
  const refusals = createRefusals(clock)
  let timer: Timer | undefined
  const underWay = new Set<Promise<void>>()

  async function record(tx: Database, by: Actor, entry: AuditEntry): Promise<void> {
    const { isBehind } = sighting.watch()
    const held = await heads(tx).hold()
    isBehind(held)
    if (!held) throw auditErrors.Headless()
    const now = toTimestamp(clock.nowMs())
    const { head, isTrue } = await headOf(tx, held, now)
    // What goes on is written down all the same, and makes nothing true: whoever looks finds that the chain was broken.
    if (!isTrue) log.error('the head of the audit log was changed by somebody else; see bingo audit verify', { seq: head.seq })
    const stamps = { createdAt: now, updatedAt: now, version: 1 }
    const event = { id: Bun.randomUUIDv7(), seq: head.seq + 1, ...written(by, entry), ...stamps }
    const hash = hashOf(cipher, head.hash, event)
    await events(tx).append({ ...event, hash })
    const { cutSeq, cutHash, begunAt } = head
    const next = { seq: event.seq, hash, cutSeq, cutHash, ...(begunAt !== undefined && { begunAt }) }
    await heads(tx).set({ ...next, digest: isTrue ? headDigest(cipher, next) : '' })
    await tx.afterCommit(() => sighting.keep(next))
  }

  /** Where nothing was ever written down the log begins; with an event, or with anything in the head, it has begun long since. */
  async function headOf(tx: Database, held: AuditHeadRow, now: string): Promise<{ head: Ends; isTrue: boolean }> {
    if (!isUnbegun(held) || (await events(tx).from(0, 1)).length > 0) return { head: held, isTrue: isHeadTrue(cipher, held) }
    await tx.afterCommit(() => log.info('the audit log begins', { begunAt: now }))
    return { head: beginning(cipher, now), isTrue: true }
  }

  async function note(by: Actor, entry: AuditEntry, more?: () => Promise<Partial<AuditEntry>>): Promise<void> {
    if (entry.outcome === 'refused' && !refusals.take(by)) {
      timer ??= setTimeout(() => void noteLeftOut(), leftOutAfterMs)
      return
    }
    await keep(by, { ...entry, ...(await more?.()) })
  }

  async function keep(by: Actor, entry: AuditEntry): Promise<void> {
    try {
      await db.tx(tx => record(tx, by, entry))
    } catch (cause) {
      if (cause instanceof AppError && cause.kind !== 'Internal') throw auditErrors.NotWritten({ cause, retryAfterSeconds: 1 })
      throw cause
    }
  }

  /** Lines of the log tell of each. */
  async function noteLeftOut(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const leftOut = refusals.takeLeftOut()
    if (!leftOut) return
    const { count, sinceMs, known, strangers } = leftOut
    const after = { count, since: toTimestamp(sinceMs), known, strangers }
    const by = { actor: undefined, address: 'many' }
    await unfailing({ action: 'audit-event.leave-out', ...after }, keep(by, { action: 'audit-event.leave-out', outcome: 'refused', after }))
  }

  /** Nobody can be told. */
  async function unfailing(fields: object, work: Promise<void>): Promise<void> {
    const done = work.catch(err => log.error('a refusal could not be written to the audit log', { ...fields, err }))
    underWay.add(done)
    await done
    underWay.delete(done)
  }

  const denials: DenialWitness = {
    denied({ asking, method, path, code }) {
      const entry = { action: 'access.refused', object: `${method} ${path}`, outcome: 'refused', reason: code } as const
      void unfailing({ action: entry.action, object: entry.object }, note(askedBy(asking), entry))
    },
    async settle() {
      await noteLeftOut()
      await Promise.all(underWay)
    },
  }

  const refused: AuditLog<string>['refused'] = (by, entry, more) =>
    void unfailing({ action: entry.action }, note(by, { ...entry, outcome: 'refused' }, more))

  return { record, note, refused, denials }
}
