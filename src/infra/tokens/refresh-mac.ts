import { hkdfSync } from 'node:crypto'

/**
 * HMAC-SHA256 (RFC 2104) under a key of its own, derived from the root key by HKDF (RFC 5869).
 * @param rootKey at least 32 random bytes
 */
export function refreshMacOf(rootKey: Uint8Array): (message: Uint8Array) => Uint8Array {
  const keyed = new Bun.CryptoHasher('sha256', new Uint8Array(hkdfSync('sha256', rootKey, '', 'refresh-token', 32)))
  return message => new Uint8Array(keyed.copy().update(message).digest())
}
