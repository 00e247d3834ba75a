import { accessErrors } from '@/core/access'
import type { Locate, LocatedRequest } from '@/core/address'
import { currentCaller } from '@/core/caller'
import { denied } from '@/core/guard'
import { cookieErrors, hasCookies, isOwnOrigin } from '@/core/session-cookies'
import type { Readiness } from '@/core/service'
import type { CrossOrigin } from './cross-origin'
import { checkBodyHeaders, readCounted, readWhole } from './body'
import { routeErrors } from './problem'
import { checkQuery } from './query'
import type { LimitedRequest } from './limited'
import { type OwnHeaders, transportSecurity } from './response'

/** A request while it is being answered. Kept on the request itself, which every hook of Elysia has at no cost. */
export interface TrackedRequest extends LocatedRequest, LimitedRequest {
  startedMs: number
  requestId: string
  isFinished?: boolean
}

export interface RequestLimits {
  /** Paths that begin so answer JSON, and nothing else but where `givesFiles` says so. */
  prefix: string
  givesFiles?: (path: string) => boolean
  bodyLimitBytes: number
  /** Whether callers that nobody knows may certainly not call it. */
  isClosedToStrangers?: (method: string, path: string) => boolean
  /** Whether browsers come with cookies. What changes something must be of a page of its own then. */
  takesCookies?: boolean | undefined
  /** Whether each request is a caller of its own, which then knows its id. */
  hasCallers?: boolean | undefined
  /** Says, when asked, where a request comes from. */
  locate?: Locate | undefined
  /** Sets headers for pages of other origins. */
  introduceTo?: CrossOrigin['introduce'] | undefined
}

/**
 * Everything that is checked before a route is asked: what the caller accepts, the query, the headers of the body.
 * @returns a function that throws what the request is refused with
 */
export function requestGate(
  readiness: Readiness,
  { prefix, bodyLimitBytes, hasCallers, givesFiles, isClosedToStrangers, takesCookies, locate, introduceTo }: RequestLimits,
) {
  const refusesOthers = (path: string) => path.startsWith(prefix) && !givesFiles?.(path)
  const nextId = requestIds()
  function readInChunks(this: Request) {
    return readCounted(this, bodyLimitBytes)
  }
  /** @param queryAt where the `?` stands in the URL, or -1 */
  return (request: TrackedRequest, own: OwnHeaders, queryAt: number): void => {
    request.startedMs ??= performance.now()
    const { headers, method } = request
    request.requestId = nextId(headers.get('x-request-id'))
    if (locate) request.locate = locate
    if (hasCallers) introduce(request.requestId, headers)
    introduceTo?.(headers, own)
    if (readiness.state === 'draining') own['connection'] = 'close'
    if (headers.get('x-forwarded-proto') === 'https') own['strict-transport-security'] = transportSecurity
    if (request.unrecognized !== undefined) throw request.unrecognized
    if (!acceptsJson(headers) && refusesOthers(pathOf(request.url))) throw routeErrors.Accept()
    if (queryAt !== -1) checkQuery(request.url.slice(queryAt + 1))
    if (method === 'GET' || method === 'HEAD') return
    if (takesCookies && hasCookies(request) && !isOwnOrigin(request)) throw denied(request, cookieErrors.CrossOrigin())
    if (request.identity?.kind === 'anonymous' && isClosedToStrangers?.(method, pathOf(request.url)))
      throw denied(request, accessErrors.Credentials())
    const hasLength = checkBodyHeaders(headers, bodyLimitBytes)
    // Elysia's `parse: 'json'` calls it. Its own hook for parsers first opens the body as a stream, which costs a microsecond.
    ;(request as { json: () => Promise<unknown> }).json = hasLength ? readWhole : readInChunks
  }
}

/** A trace that somebody has begun (W3C Trace Context §3.2): four fields, of which neither id is all zeros. */
const traceparent = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/

/** What goes on with the tasks that the request enqueues. */
function introduce(requestId: string, headers: Headers): void {
  const caller = currentCaller()
  if (!caller) return
  caller.requestId = requestId
  const trace = traceOf(headers.get('traceparent'))
  if (trace !== undefined) caller.traceparent = trace
}

/** What a caller says of its trace, if that is one. */
export const traceOf = (given: string | null): string | undefined => (given !== null && traceparent.test(given) ? given : undefined)

export function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  const end = url.indexOf('?', start)
  return url.slice(start, end === -1 ? undefined : end)
}

/** Our media type, or a range that holds it; parameters and preferences do not matter when there is one representation. */
function acceptsJson(headers: Headers): boolean {
  const accept = headers.get('accept')
  return accept === null || accept === '*/*' || /\*\/\*|application\/(\*|json|problem\+json)/i.test(accept)
}

/** The caller's id when it sends one that is fit for logs, else one of ours: unique among processes by its first half. */
export function requestIds(): (given: string | null) => string {
  const process = Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString('hex')
  let count = 0
  return given => {
    // Nor one of our credentials, pasted into the wrong header: it would be in every log line.
    if (given !== null && /^(?!b[kr]_)[\w.-]{1,64}$/.test(given)) return given
    return `${process}-${(count++).toString(36)}`
  }
}
