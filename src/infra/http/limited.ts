import type { Locate, LocatedRequest } from '@/core/address'
import { anonymous } from '@/core/identity'
import { type RateClass, type RateLimits, rateClassOf } from '@/core/rate-limit'
import type { Handler, RecognizedRequest, Strangers } from './recognition'
import type { OwnHeaders } from './response'
import { pathOf } from './request'
import { pathPattern, type Route } from './routes'

export interface LimitedRequest extends RecognizedRequest, LocatedRequest {
  /** What is left of the limits that it counts against: for its answer, whatever that is. */
  limitHeaders?: OwnHeaders
}

/** Asked every few seconds by machines. They are never too many, and all callers may have the address of the one that asks. */
const probes = /^[^:]+:\/\/[^/]+\/(livez|readyz)(\?|$)/

/** Counts requests against the limits of their callers, before their bodies are read and their routes looked for. */
export interface Counting {
  /** Of credentials that are not remembered, which cost a question whether somebody has them or not. */
  strangers: Strangers
  /** Around the rest, once it is known who sends it. What is thrown is left for the first hook, which answers it. */
  around(answer: Handler): Handler
}

export function counting(limits: RateLimits, locate: Locate, classOf: ReturnType<typeof rateClasses>): Counting {
  function take(request: LimitedRequest): void | Promise<void> {
    request.locate = locate
    const rateClass = classOf(request.method, request.url)
    if (rateClass === 'none') return
    request.limitHeaders ??= {}
    return limits.take(rateClass, request.identity ?? anonymous, request, request.limitHeaders)
  }

  /** What it is refused with is left for the first hook, which answers it. */
  function attempt(request: LimitedRequest): void | Promise<void> {
    const refused = (thrown: unknown) => {
      request.unrecognized = thrown
    }
    try {
      return take(request)?.catch(refused)
    } catch (thrown) {
      refused(thrown)
    }
  }

  return {
    strangers: {
      admit(request: LimitedRequest) {
        request.locate = locate
        request.limitHeaders = {}
        limits.admit(request, request.limitHeaders)
      },
      refused: (request: LimitedRequest) => limits.takeInvalid(request, request.limitHeaders ?? {}),
    },
    around: answer =>
      function counted(request: LimitedRequest, server) {
        if (probes.test(request.url)) return answer(request, server)
        const taking = attempt(request)
        if (taking) return taking.then(() => answer(request, server))
        return answer(request, server)
      },
  }
}

/** The class of a request: what its route says, which few do, or what its method says. @param routes asked once the first request is there */
export function rateClasses(routes: () => readonly Route[]): (method: string, url: string) => DeclaredClass {
  let declared: Map<string, DeclaredClasses> | undefined
  return (method, url) => {
    declared ??= declaredClasses(routes())
    const ofMethod = declared.get(method)
    if (ofMethod === undefined) return rateClassOf(method)
    const asked = pathOf(url)
    // Routes answer with a slash at the end, too.
    const path = asked.endsWith('/') ? asked.slice(0, -1) : asked
    const plain = ofMethod.plain.get(path)
    if (plain !== undefined) return plain
    for (const { pattern, rateClass } of ofMethod.patterns) if (pattern.test(path)) return rateClass
    return rateClassOf(method)
  }
}

/** `none` is not counted. */
type DeclaredClass = RateClass | 'none'

/** Of one method. Most paths are found at once; those with parameters are few. */
interface DeclaredClasses {
  plain: Map<string, DeclaredClass>
  patterns: { pattern: RegExp; rateClass: DeclaredClass }[]
}

function declaredClasses(routes: readonly Route[]): Map<string, DeclaredClasses> {
  const byMethod = new Map<string, DeclaredClasses>()
  for (const { method, path, hooks } of routes) {
    const rateClass = hooks?.detail?.['x-limit'] as DeclaredClass | undefined
    if (rateClass === undefined) continue
    const ofMethod: DeclaredClasses = byMethod.get(method) ?? { plain: new Map(), patterns: [] }
    byMethod.set(method, ofMethod)
    if (path.includes(':')) ofMethod.patterns.push({ pattern: pathPattern(path), rateClass })
    else ofMethod.plain.set(path, rateClass)
  }
  return byMethod
}
