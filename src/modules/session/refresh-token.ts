import { timingSafeEqual } from 'node:crypto'
import type { Tokens } from '@/core/tokens'
import type { SessionRow } from './schema'

/**
 * A refresh token is `br_` and, in base64url, the id of its session, its generation, and a MAC over both, the realm and the seed of
 * the session, under a key that is not in the database. So neither the database alone makes one nor the root key alone, nothing of it
 * is kept, and the same generation gives the same token again.
 */
export interface RefreshClaims {
  sessionId: string
  generation: number
  mac: Uint8Array
}
type Session = Pick<SessionRow, 'id' | 'realm' | 'seed'>
type Mac = Tokens['refreshMac']

const prefix = 'br_'
const idBytes = 16
const headBytes = idBytes + 4
const macBytes = 32

export function writeRefreshToken(session: Session, generation: number, mac: Mac): string {
  const head = headOf(session.id, generation)
  return prefix + Buffer.concat([head, macOf(session, head, mac)]).toString('base64url')
}

/** What it says, of which nothing is certain before `isGenuine`. @returns undefined for what is none */
export function readRefreshToken(token: string): RefreshClaims | undefined {
  const body = token.slice(prefix.length)
  const bytes = Buffer.from(body, 'base64url')
  const isOne = token.startsWith(prefix) && bytes.length === headBytes + macBytes && bytes.toString('base64url') === body
  if (!isOne) return undefined
  const id = bytes.toString('hex', 0, idBytes)
  const sessionId = [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20)].join('-')
  return { sessionId, generation: bytes.readUInt32BE(idBytes), mac: bytes.subarray(headBytes) }
}

/** Whether this house has made it for this session. */
export const isGenuine = (claims: RefreshClaims, session: Session, mac: Mac): boolean =>
  timingSafeEqual(claims.mac, macOf(session, headOf(claims.sessionId, claims.generation), mac))

function headOf(sessionId: string, generation: number): Buffer {
  const head = Buffer.alloc(headBytes)
  head.write(sessionId.replaceAll('-', ''), 'hex')
  head.writeUInt32BE(generation, idBytes)
  return head
}

/** The realm stands last, since it alone has no fixed length. */
const macOf = ({ seed, realm }: Session, head: Uint8Array, mac: Mac) => mac(Buffer.concat([seed, head, Buffer.from(realm)]))
