import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

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

/** In base64url: 132 bits. */
const macLength = 22

/**
 * Seals with HMAC-SHA256 cut to 132 bits (RFC 2104 §5), under a key derived from the root key by HKDF (RFC 5869) with `info`.
 * @param rootKey at least 32 random bytes
 */
export function createSeal(rootKey: Uint8Array, info: string): Seal {
  const key = new Uint8Array(hkdfSync('sha256', rootKey, '', info, 32))
  // Keyed once and copied, which takes a fifth of the time: it is done for each page of a list.
  const keyed = new Bun.CryptoHasher('sha256', key)
  const mac = (body: string, purpose: string) =>
    keyed.copy().update(`${purpose.length}:${purpose}:${body}`).digest('base64url').slice(0, macLength)
  return {
    close(text, purpose) {
      const body = Buffer.from(text).toString('base64url')
      return mac(body, purpose) + body
    },
    // What is signed is the body as it is spelled, so one text has one sealed form.
    open(sealed, purpose) {
      const body = sealed.slice(macLength)
      return isEqual(sealed.slice(0, macLength), mac(body, purpose)) ? Buffer.from(body, 'base64url').toString() : undefined
    },
  }
}

/** Compares in a time that does not depend on where two texts differ. */
function isEqual(given: string, own: string): boolean {
  let difference = given.length ^ own.length
  for (let i = 0; i < own.length; i++) difference |= given.charCodeAt(i) ^ own.charCodeAt(i)
  return difference === 0
}

/** Hides text that is kept where others may read it, and notices a change to it. */
export interface Cipher {
  /**
   * @param context what the text belongs to; one closed for another context does not open
   * @returns URL-safe text, different each time
   */
  close(text: string, context: string): string
  /** @returns the text, or undefined when it was not closed by us for this context */
  open(closed: string, context: string): string | undefined
  /** The same for the same text, and says nothing of it: 43 URL-safe characters, under which it can be found. */
  digest(text: string): string
}

const nonceBytes = 12
const tagBytes = 16

/**
 * Encrypts with AES-256-GCM under a key derived from the root key by HKDF with `info`, the context as additional data. Nonces are
 * random, so one root key is for at most 2^32 texts (NIST SP 800-38D §8.3).
 * @param rootKey at least 32 random bytes
 */
export function createCipher(rootKey: Uint8Array, info: string): Cipher {
  const key = new Uint8Array(hkdfSync('sha256', rootKey, '', info, 32))
  const digester = new Bun.CryptoHasher('sha256', new Uint8Array(hkdfSync('sha256', rootKey, '', `${info} digest`, 32)))
  return {
    close(text, context) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
      const hidden = [cipher.update(text, 'utf8'), cipher.final()]
      return Buffer.concat([nonce, cipher.getAuthTag(), ...hidden]).toString('base64url')
    },
    open(closed, context) {
      const bytes = Buffer.from(closed, 'base64url')
      if (bytes.length < nonceBytes + tagBytes || bytes.toString('base64url') !== closed) return undefined
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
        .setAAD(Buffer.from(context))
        .setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]).toString()
      } catch {
        return undefined
      }
    },
    digest: text => digester.copy().update(text).digest('base64url'),
  }
}
