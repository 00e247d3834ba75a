/** On every answer (OWASP REST Security Cheat Sheet, ASVS 5.0 §3.4). A page brings its own policy. */
const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

/** Two years of HTTPS only. It must not be said over plain HTTP (RFC 6797 §7.2), so it is said when the proxy says HTTPS. */
export const transportSecurity = 'max-age=63072000; includeSubDomains'

/** Headers that a route or a gate sets for one answer. */
export type OwnHeaders = Record<string, string | number | readonly string[] | undefined>

// One for all answers: a Response copies it, which costs a third of making it from an object each time.
const common = new Headers(securityHeaders)

// The same for answers that say what is left of limits: one header more of a Response that is there already costs a microsecond.
const limited = new Headers(securityHeaders)

/** A value as JSON, or no content when it is undefined. @param limits headers that tell of limits, always the same ones */
export function jsonResponse(value: unknown, status: number, requestId: string, own: OwnHeaders, limits?: OwnHeaders): Response {
  // Nothing is said of the limits of a caller that has none.
  const isLimited = limits?.['ratelimit'] !== undefined
  const headers = isLimited ? limited : common
  headers.set('x-request-id', requestId)
  if (isLimited) tellLimits(limits)
  const init = { status, headers }
  const response = value === undefined ? new Response(null, init) : Response.json(value, init)
  return withOwn(response, own)
}

let toldPolicy: unknown
/** Which limits there are is mostly what it was for the answer before. */
function tellLimits({ 'ratelimit-policy': policy, ratelimit }: OwnHeaders): void {
  if (policy !== toldPolicy) limited.set('ratelimit-policy', String(policy))
  toldPolicy = policy
  limited.set('ratelimit', String(ratelimit))
}

/** A response that a route made itself, with what is missing of the headers of every answer. */
export function completedResponse(response: Response, requestId: string, own: OwnHeaders): Response {
  for (const [name, value] of Object.entries(securityHeaders)) {
    if (!response.headers.has(name)) response.headers.set(name, value)
  }
  response.headers.set('x-request-id', requestId)
  return withOwn(response, own)
}

function withOwn(response: Response, own: OwnHeaders): Response {
  for (const name in own) {
    const value = own[name]
    // Cookies are set one by one (RFC 6265 §3).
    if (typeof value === 'object') for (const each of value) response.headers.append(name, each)
    else response.headers.set(name, String(value))
  }
  return response
}
