import type { HttpFaceName } from './module'

/** For whom a token is, its `aud`: the tokens of one server mean nothing to another. */
export type Audience = Extract<HttpFaceName, 'api' | 'admin'>

/** What an access token says. */
export interface Claims {
  /** `sub`: the account. */
  accountId: string
  /** `sid` */
  sessionId: string
  audience: Audience
}

/** What the token of a service says: who it is, and what it asks to be allowed, whatever else it may. */
export interface ServiceClaims {
  /** `sub`, behind `service:`: the roles of the process, such as `bot`. */
  service: string
  /** `scope` (RFC 8693 §4.2): such as `users:read`. */
  scopes: readonly string[]
}

/** What the header of a token says that it is, `typ`, so that none is taken for another (RFC 8725 §3.11). */
export const tokenTypes = {
  /** RFC 9068 §2.1 */
  access: 'at+jwt',
  service: 'service+jwt',
} as const

const serviceStart = Buffer.from(`{"alg":"EdDSA","typ":"${tokenTypes.service}",`)
/** As a token begins: whole groups of three bytes are the same characters whatever follows. */
const servicePrefix = serviceStart.subarray(0, serviceStart.length - (serviceStart.length % 3)).toString('base64url')

/** Whether a credential looks like the token of a service, as ours do; whether it is one, `verifyService` tells. */
export const looksLikeServiceToken = (credential: string): boolean => credential.startsWith(servicePrefix)

/**
 * Access tokens: JWT (RFC 7519) of the profile for access tokens (RFC 9068), `typ: at+jwt`, signed by EdDSA, which is the only
 * algorithm that is taken (RFC 8725 §3.1). Keys are made, published, used and retired by themselves; see docs/security.md.
 */
export interface Tokens {
  /** @returns the token, and how long it is good for */
  sign(claims: Claims): Promise<{ token: string; expiresInSeconds: number }>
  /** @returns undefined for whatever is not a valid token for this audience */
  verify(token: string, audience: Audience): Promise<(Claims & { expiresAtMs: number }) | undefined>
  /** For the gRPC server alone (`aud: rpc`), good for five minutes. Returns as `sign`. */
  signService(claims: ServiceClaims): Promise<{ token: string; expiresInSeconds: number }>
  /** As `verify`. */
  verifyService(token: string): Promise<(ServiceClaims & { expiresAtMs: number }) | undefined>
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
