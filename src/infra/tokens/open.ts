import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import { isUuid } from '@/core/schema'
import { createCipher } from '@/core/seal'
import { type Audience, type Claims, type ServiceClaims, type Tokens, tokenTypes } from '@/core/tokens'
import { algorithm, createKeyRing } from './key-ring'
import { refreshMacOf } from './refresh-mac'
import { signingKeyRows } from './rows'

/** Ours have about 500 characters. */
const tokenLengthMax = 2048
/** How far the clocks of processes may be apart. */
const skewSeconds = 5
const required = ['iss', 'aud', 'sub', 'iat', 'nbf', 'exp', 'jti']
const serviceTtlSeconds = 300
const servicePrefix = 'service:'
/** RFC 6749 §3.3, as far as ours go. */
const scopePattern = /^[a-z-]+:[a-z-]+( [a-z-]+:[a-z-]+)*$/

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

  async function signed(type: string, ttl: number, claims: Record<string, string>): Promise<{ token: string; expiresInSeconds: number }> {
    const { kid, privateKey } = await ring.signer()
    const now = Math.floor(clock.nowMs() / 1000)
    const token = await new SignJWT({ iss: issuer, ...claims, iat: now, nbf: now, exp: now + ttl, jti: Bun.randomUUIDv7() })
      .setProtectedHeader({ alg: algorithm, typ: type, kid })
      .sign(privateKey)
    return { token, expiresInSeconds: ttl }
  }

  /** @returns undefined for whatever is not of this type and for this audience */
  async function verified(token: string, type: string, audience: string): Promise<JWTPayload | undefined> {
    const kid = kidOf(token, type)
    const key = kid === undefined ? undefined : await ring.find(kid)
    if (!key) return undefined
    try {
      const { payload } = await jwtVerify(token, key.publicKey, {
        ...{ algorithms: [algorithm], typ: type, issuer, audience, requiredClaims: required },
        ...{ clockTolerance: skewSeconds, currentDate: new Date(clock.nowMs()) },
      })
      // A list with our name in it is not what we write.
      return payload.aud === audience ? payload : undefined
    } catch (thrown) {
      if (thrown instanceof errors.JOSEError) return undefined
      throw thrown
    }
  }

  return {
    sign: ({ accountId: sub, sessionId: sid, audience: aud }) => signed(tokenTypes.access, ttlSeconds, { aud, sub, sid }),
    async verify(token, audience) {
      const payload = await verified(token, tokenTypes.access, audience)
      return payload && claimsOf(payload, audience)
    },
    signService: ({ service, scopes }) =>
      signed(tokenTypes.service, serviceTtlSeconds, { aud: 'rpc', sub: servicePrefix + service, scope: scopes.join(' ') }),
    async verifyService(token) {
      const payload = await verified(token, tokenTypes.service, 'rpc')
      return payload && serviceClaimsOf(payload)
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
function kidOf(token: string, type: string): string | undefined {
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

function claimsOf({ sub, sid, exp }: JWTPayload, audience: Audience): (Claims & { expiresAtMs: number }) | undefined {
  if (typeof sub !== 'string' || typeof sid !== 'string' || exp === undefined) return undefined
  if (!isUuid(sub) || !isUuid(sid)) return undefined
  return { accountId: sub, sessionId: sid, audience, expiresAtMs: exp * 1000 }
}

function serviceClaimsOf({ sub, scope, exp }: JWTPayload): (ServiceClaims & { expiresAtMs: number }) | undefined {
  if (typeof sub !== 'string' || typeof scope !== 'string' || exp === undefined) return undefined
  const service = sub.slice(servicePrefix.length)
  if (!sub.startsWith(servicePrefix) || service === '' || !(scope === '' || scopePattern.test(scope))) return undefined
  return { service, scopes: scope === '' ? [] : scope.split(' '), expiresAtMs: exp * 1000 }
}
