import { createPublicKey, verify } from 'node:crypto'
import type { Clock } from '@/core/clock'

/**
 * Whether Discord has sent a request: it signs the time and the body, as they are, with Ed25519 (RFC 8032) and the key of the application.
 * https://discord.com/developers/docs/interactions/overview#setting-up-an-endpoint-validating-security-request-headers
 */
export type CheckSignature = (request: Request, body: Uint8Array) => SignatureFault | undefined
/** `stale` is signed well, and too long ago, or by a clock that is too far ahead. */
export type SignatureFault = 'missing' | 'wrong' | 'stale'

/** Older and newer requests are refused; within it, what is sent again has the id of what was stored before. */
const skewMaxMs = 300_000
const signaturePattern = /^[0-9a-f]{128}$/i
/** Seconds since 1970. */
const timestampPattern = /^[0-9]{1,12}$/

/** @param publicKey 64 hexadecimal digits. One that is no point of the curve lets nothing pass. */
export function createSignatureCheck(publicKey: string, clock: Clock): CheckSignature {
  const key = parsed(publicKey)
  return (request, body) => {
    const signature = request.headers.get('x-signature-ed25519') ?? ''
    const timestamp = request.headers.get('x-signature-timestamp') ?? ''
    if (!signaturePattern.test(signature) || !timestampPattern.test(timestamp)) return 'missing'
    if (!key || !verify(null, Buffer.concat([Buffer.from(timestamp), body]), key, Buffer.from(signature, 'hex'))) return 'wrong'
    return Math.abs(clock.nowMs() - Number(timestamp) * 1000) > skewMaxMs ? 'stale' : undefined
  }
}

function parsed(publicKey: string) {
  try {
    const x = Buffer.from(publicKey, 'hex').toString('base64url')
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  } catch {
    return undefined
  }
}
