import type { Cipher } from '@/core/seal'
import { type AuditEventRow, type AuditHeadRow, auditEvents } from './schema'

/** How events hold together: what is hashed, in the one spelling that all databases give back. */

type Digest = Pick<Cipher, 'digest'>

const hashed = auditEvents.columns.map(({ name }) => name).filter(name => name !== 'hash') as Exclude<keyof AuditEventRow, 'hash'>[]

/** Of an event that follows the one with the hash `previous`; the first follows the hash that the log began with. HMAC-SHA256, under a key of the root key. */
export const hashOf = ({ digest }: Digest, previous: string, event: Omit<AuditEventRow, 'hash'>): string =>
  digest(JSON.stringify(['audit-event', previous, ...hashed.map(name => event[name] ?? null)]))

/** What the head says: of the last event, of the last that was removed, and of the beginning. */
export type Ends = Pick<AuditHeadRow, 'seq' | 'hash' | 'cutSeq' | 'cutHash' | 'begunAt'>

/**
 * Of all that the head says together: parts of two heads that were true once do not make one. Also of a log without an event, so that whoever
 * empties it cannot say that there never was one.
 */
export const headDigest = ({ digest }: Digest, { seq, hash, cutSeq, cutHash, begunAt }: Ends): string =>
  digest(JSON.stringify(['audit-head', seq, hash, cutSeq, cutHash, begunAt ?? null]))

export const isHeadTrue = (by: Digest, head: AuditHeadRow): boolean =>
  head.begunAt !== undefined && head.cutSeq <= head.seq && head.digest === headDigest(by, head)

/** As the migration has left it, which has no key; or whoever wants it to look so. */
export const isUnbegun = ({ seq, hash, digest, cutSeq, cutHash, begunAt }: AuditHeadRow): boolean =>
  seq === 0 && cutSeq === 0 && `${hash}${digest}${cutHash}` === '' && begunAt === undefined

/** The head of a log that begins now: its hash is another each time, so that no event of another beginning fits behind it. */
export function beginning({ digest }: Digest, begunAt: string): Ends {
  const hash = digest(JSON.stringify(['audit-begin', begunAt, Bun.randomUUIDv7()]))
  return { seq: 0, hash, cutSeq: 0, cutHash: hash, begunAt }
}
