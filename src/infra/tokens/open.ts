import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import { isUuid } from '@/core/schema'
import { createCipher } from '@/core/seal'
import type { Claims, Tokens } from '@/core/tokens'
import { algorithm, createKeyRing } from './key-ring'
import { refreshMacOf } from './refresh-mac'
import { signingKeyRows } from './rows'

/** RFC 9068 §2.1: an access token, and nothing else that was signed with the same key. */
const type = 'at+jwt'
/** Ours have about 500 characters. */
const tokenLengthMax = 2048
/** How far the clocks of processes may be apart. */
const skewSeconds = 5
const required = ['iss', 'aud', 'sub', 'sid', 'iat', 'nbf', 'exp', 'jti']

/** @param rootKey at least 32 random bytes */
export function openTokens(
  rootKey: Uint8Array,
  db: Database,
  { issuer, accessTtlMs, keyRotationMs }: Pick<Config['auth'], 'issuer' | 'accessTtlMs' | 'keyRotationMs'>,
  { clock, log }: { clock: Clock; log: Log },
): Tokens {
  const cipher = createCipher(rootKey, 'signing-key')
  const ring = createKeyRing(signingKeyRows(db), { cipher, clock, log, rotationMs: keyRotationMs })
  const ttlSeconds = Math.floor(accessTtlMs / 1000)

  return {
    async sign({ accountId, sessionId, audience }) {
      const { kid, privateKey } = await ring.signer()
      const now = Math.floor(clock.nowMs() / 1000)
      const token = await new SignJWT({
        ...{ iss: issuer, aud: audience, sub: accountId, sid: sessionId },
        ...{ iat: now, nbf: now, exp: now + ttlSeconds, jti: Bun.randomUUIDv7() },
      })
        .setProtectedHeader({ alg: algorithm, typ: type, kid })
        .sign(privateKey)
      return { token, expiresInSeconds: ttlSeconds }
    },

    async verify(token, audience) {
      const kid = kidOf(token)
      const key = kid === undefined ? undefined : await ring.find(kid)
      if (!key) return undefined
      try {
        const { payload } = await jwtVerify(token, key.publicKey, {
          ...{ algorithms: [algorithm], typ: type, issuer, audience, requiredClaims: required },
          ...{ clockTolerance: skewSeconds, currentDate: new Date(clock.nowMs()) },
        })
        return claimsOf(payload, audience)
      } catch (thrown) {
        if (thrown instanceof errors.JOSEError) return undefined
        throw thrown
      }
    },

    refreshMac: refreshMacOf(rootKey),

    async jwks() {
      const keys = await ring.all()
      return { keys: keys.map(({ kid, x }) => ({ kty: 'OKP', crv: 'Ed25519', x, kid, alg: algorithm, use: 'sig' })) }
    },

    rotate: () => ring.rotate(),
  }
}

/**
 * The key that a token names, when its header is one of ours to the letter: so nothing that it says beside that (`jku`, `x5u`, `jwk`,
 * `crit`) is ever looked at (RFC 8725 §3.10).
 */
function kidOf(token: string): string | undefined {
  if (token.length > tokenLengthMax || !isCanonical(token)) return undefined
  let header: Record<string, unknown>
  try {
    header = decodeProtectedHeader(token) as Record<string, unknown>
  } catch {
    return undefined
  }
  const { alg, typ, kid, ...more } = header
  if (alg !== algorithm || typ !== type || typeof kid !== 'string' || !isUuid(kid) || Object.keys(more).length > 0) return undefined
  return kid
}

/** Whether it is spelled as it would be made: base64url has several spellings of some bytes, and a token has one. */
function isCanonical(token: string): boolean {
  const parts = token.split('.')
  return parts.length === 3 && parts.every(part => part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part)
}

function claimsOf(payload: Record<string, unknown>, audience: Claims['audience']): (Claims & { expiresAtMs: number }) | undefined {
  const { sub, sid, aud, exp } = payload
  // A list with our name in it is not what we write.
  if (aud !== audience || typeof sub !== 'string' || typeof sid !== 'string' || typeof exp !== 'number') return undefined
  if (!isUuid(sub) || !isUuid(sid)) return undefined
  return { accountId: sub, sessionId: sid, audience, expiresAtMs: exp * 1000 }
}
