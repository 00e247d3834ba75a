import { importJWK, type JWTHeaderParameters, SignJWT } from 'jose'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import { createCipher } from '@/core/seal'
import { openTokens } from '@/infra/tokens/open'
import { signingKeyRows } from '@/infra/tokens/rows'
import { type FakeLog, fakeLog } from './fakes'

/** A clock that stands still until it is set. */
export interface SetClock {
  ms: number
  nowMs(): number
}
export const setClock = (ms = Date.parse('2026-01-31T09:05:00.000Z')): SetClock => {
  const clock = { ms, nowMs: () => clock.ms }
  return clock
}

export const testRootKey = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1)
export const authDefaults: Pick<Config['auth'], 'issuer' | 'accessTtlMs' | 'keyRotationMs'> = {
  issuer: 'bingo',
  accessTtlMs: 600_000,
  keyRotationMs: 30 * 86_400_000,
}

/** Tokens as one process has them: several on one database are several processes. */
export function tokensOn(
  db: Database,
  clock: SetClock,
  { rootKey = testRootKey, log = fakeLog(), ...auth }: Partial<typeof authDefaults> & { rootKey?: Uint8Array; log?: FakeLog } = {},
) {
  return openTokens(rootKey, db, { ...authDefaults, ...auth }, { clock, log })
}

/** Who has the key signs what they like: for tests of what is refused although its signature is right. */
export async function signedByUs(
  db: Database,
  header: (kid: string) => Partial<JWTHeaderParameters> & Record<string, unknown>,
  payload: Record<string, unknown>,
): Promise<string> {
  const row = (await signingKeyRows(db).list()).at(-1)
  const d = row && createCipher(testRootKey, 'signing-key').open(row.privateKey, `${row.id} ${row.publicKey}`)
  if (!row || d === undefined) throw new Error('there is no key')
  const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: row.publicKey, d }, 'EdDSA')
  const protectedHeader = header(row.id) as JWTHeaderParameters
  return new SignJWT(payload).setProtectedHeader(protectedHeader).sign(key, { crit: { 'urn:x': true } })
}
