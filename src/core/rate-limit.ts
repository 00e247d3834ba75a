import type { Located } from './address'
import { defineErrors } from './error'
import type { Identity } from './identity'

/** What a request counts as: what reads, what writes, and what tries credentials or sends codes, which routes say of themselves. */
export type RateClass = 'read' | 'write' | 'credentials'

/** The class of a route that says none. */
export const rateClassOf = (method: string): RateClass => (method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? 'read' : 'write')

export interface RateLimits {
  /**
   * Counts a request against the limits of its caller, and sets the headers `RateLimit-Policy` and `RateLimit`
   * (draft-ietf-httpapi-ratelimit-headers).
   * @param request whose address is that of callers whom nobody knows, and of whoever tries credentials
   * @param headers of the answer, whatever it will be
   * @returns a promise where other processes must be asked, which is seldom
   * @throws ResourceExhausted with `Retry-After` once the caller has made as many requests in the last minute as it may; at once or later
   */
  take(rateClass: RateClass, identity: Identity, request: Request | Located, headers: Record<string, unknown>): void | Promise<void>
  /**
   * Asked before somebody is asked whose a credential is, and counts nothing: whoever has one that is valid pays for others of their
   * address only while those try more that are not than may be. Requests that are under way together are all let through.
   * @throws ResourceExhausted with `Retry-After` once too many from there were not valid in the last minute
   */
  admit(request: Request | Located, headers: Record<string, unknown>): void
  /** Counts a credential that is not valid against the address it came from. Returns and throws like `take`. */
  takeInvalid(request: Request | Located, headers: Record<string, unknown>): void | Promise<void>
}

export const rateErrors = defineErrors({
  RateLimit: ['ResourceExhausted', 'You have made too many requests; try again later.'],
})
