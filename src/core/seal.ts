import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

/** Signs text that a caller carries for us and gives back, so that a change to it is noticed. Nothing is hidden by it. */
export interface Seal {
  /**
   * @param purpose what the text is for; one sealed for another purpose or context does not open
   * @returns URL-safe text
   */
  close(text: string, purpose: string): string
  /** @returns the text, or undefined when it was not sealed by us for this purpose */
  open(sealed: string, purpose: string): string | undefined
}

const macBytes = 16

/**
 * Seals with HMAC-SHA256 cut to 128 bits (RFC 2104 §5), under a key derived from the root key by HKDF (RFC 5869) with `info`.
 * @param rootKey at least 32 random bytes
 */
export function createSeal(rootKey: Uint8Array, info: string): Seal {
  const key = new Uint8Array(hkdfSync('sha256', rootKey, '', info, 32))
  const mac = (text: string, purpose: string) =>
    createHmac('sha256', key).update(`${purpose.length}:${purpose}:${text}`).digest().subarray(0, macBytes)
  return {
    close: (text, purpose) => Buffer.concat([mac(text, purpose), Buffer.from(text)]).toString('base64url'),
    open(sealed, purpose) {
      const bytes = Buffer.from(sealed, 'base64url')
      // One text, one sealed form: base64 has spare bits that would otherwise pass unnoticed.
      if (bytes.length < macBytes || bytes.toString('base64url') !== sealed) return undefined
      const text = bytes.subarray(macBytes).toString()
      return timingSafeEqual(bytes.subarray(0, macBytes), mac(text, purpose)) ? text : undefined
    },
  }
}
