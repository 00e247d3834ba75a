import type { FaceName } from './module'

/** For whom a token is, its `aud`: the tokens of one server mean nothing to another. */
export type Audience = Extract<FaceName, 'api' | 'admin'>

/** What an access token says. */
export interface Claims {
  /** `sub`: the account. */
  accountId: string
  /** `sid` */
  sessionId: string
  audience: Audience
}

/**
 * Access tokens: JWT (RFC 7519) of the profile for access tokens (RFC 9068), `typ: at+jwt`, signed by EdDSA, which is the only
 * algorithm that is taken (RFC 8725 §3.1). Keys are made, published, used and retired by themselves; see docs/security.md.
 */
export interface Tokens {
  /** @returns the token, and how long it is good for */
  sign(claims: Claims): Promise<{ token: string; expiresInSeconds: number }>
  /** @returns undefined for whatever is not a valid token for this audience */
  verify(token: string, audience: Audience): Promise<(Claims & { expiresAtMs: number }) | undefined>
  /**
   * HMAC-SHA256 (RFC 2104) under a key that is derived from the root key for refresh tokens alone, so that who can read or write
   * the database still cannot make one. 32 bytes.
   */
  refreshMac(message: Uint8Array): Uint8Array
  /** The public keys (RFC 7517), for services that check tokens themselves: they learn of a revocation when the token expires. */
  jwks(): Promise<{ keys: readonly Record<string, unknown>[] }>
  /** Makes the next key when it is time, and removes those that no living token was signed with. For a schedule. */
  rotate(): Promise<void>
}
