import type { Handler } from './recognition'
import type { OwnHeaders } from './response'

/** What scripts of other origins may send besides what any page may (Fetch §3.2). */
const allowedHeaders = 'authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-request-id'
/** What they may read of an answer besides what any page may. */
const exposedHeaders = 'etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id'
/** Browsers keep what they were told for so long; Chromium never keeps it for more than two hours. */
const maxAgeSeconds = 7200

export interface CrossOrigin {
  /** Sets what pages of other origins need, on any answer. */
  introduce(headers: Headers, own: OwnHeaders): void
  /** Around the whole request: answers browsers that ask before they send it. */
  preflight(answer: Handler): Handler
}

/**
 * Lets pages of the listed origins use the API from browsers, and of no others. An origin is compared as a whole, and what is sent back
 * is one of the list. Cookies are never asked for: callers show who they are by `Authorization`, which no page can send unnoticed.
 *
 * @param methodsOf what may be done at a path; undefined where nothing is
 */
export function crossOrigin(origins: readonly string[], methodsOf: (path: string) => readonly string[] | undefined): CrossOrigin {
  const allowed = new Set(origins)
  const isAllowed = (headers: Headers) => allowed.has(headers.get('origin') ?? '')

  function introduce(headers: Headers, own: OwnHeaders): void {
    // Also for callers without an origin: a store between may give them what was kept for another.
    own['vary'] = 'Origin'
    if (!isAllowed(headers)) return
    own['access-control-allow-origin'] = headers.get('origin') ?? ''
    own['access-control-expose-headers'] = exposedHeaders
  }

  return {
    introduce,
    preflight: answer => (request, server) => {
      const { headers, method } = request
      if (method !== 'OPTIONS' || !headers.has('access-control-request-method') || !isAllowed(headers)) return answer(request, server)
      const methods = methodsOf(new URL(request.url).pathname)
      if (!methods) return answer(request, server)
      return new Response(null, {
        status: 204,
        headers: {
          'access-control-allow-origin': headers.get('origin') ?? '',
          'access-control-allow-methods': methods.join(', '),
          'access-control-allow-headers': allowedHeaders,
          'access-control-max-age': String(maxAgeSeconds),
          vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
          'x-content-type-options': 'nosniff',
          'cache-control': 'no-store',
        },
      })
    },
  }
}
