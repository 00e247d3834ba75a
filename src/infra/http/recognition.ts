import { asCaller, currentCaller } from '@/core/caller'
import type { IdentifiedRequest } from '@/core/guard'
import { actorOf, anonymous, type Identity } from '@/core/identity'
import { cookieOf, sessionCookies } from '@/core/session-cookies'

/** Tells who has sent a credential; see `infra/identity`. */
export interface Recognizer {
  remembered(credential: string): Identity | undefined
  recognize(credential: string): Promise<Identity | undefined>
}

/** What becomes of credentials that are not remembered. */
export interface Strangers {
  /** Throws where nobody is to be asked for whoever sends the request. */
  admit(request: Request): void
  /** The credential is not valid. Throws where it was one too many. */
  refused(request: Request): void | Promise<void>
}

export interface RecognizedRequest extends IdentifiedRequest {
  /** When it began, where something has been waited for. */
  startedMs?: number
  /** Why nobody could tell who sends it. */
  unrecognized?: unknown
}

export type Handler = (request: Request, server?: unknown) => unknown

/** RFC 6750 §2.1, and no longer than any credential of ours. The scheme has any case (RFC 9110 §11.1). */
const bearer = /^bearer +([\w.~+/-]{1,4096}={0,2})$/i
/** What stands behind `Bearer` when it could be a credential. */
export const credentialIn = (authorization: string): string | undefined => bearer.exec(authorization)?.[1]
const usual = 'Bearer '
/** Asked every few seconds by machines; they must not wait for the database. */
const probes = /^[^:]+:\/\/[^/]+\/(livez|readyz)(\?|$)/

/**
 * Around the whole request, hooks included: who sends it is known before anything is looked at. It waits only for a credential that
 * is not remembered; what fails then is left for the first hook, which answers it.
 * @param takesCookies whether the cookie of a session is a credential where there is no other
 */
export function recognition(recognizer: Recognizer, strangers?: Strangers, takesCookies = false): (answer: Handler) => Handler {
  async function look(request: Request, credential: string): Promise<Identity | undefined> {
    strangers?.admit(request)
    const identity = await recognizer.recognize(credential)
    if (!identity) await strangers?.refused(request)
    return identity
  }
  function authorizationOf(request: Request): string | null {
    return request.headers.get('authorization') ?? (takesCookies ? ofCookie(request) : null)
  }
  async function again(request: Request): Promise<Identity | undefined> {
    const credential = credentialIn(authorizationOf(request) ?? '')
    return credential === undefined ? undefined : (recognizer.remembered(credential) ?? recognizer.recognize(credential))
  }
  return answer =>
    function recognized(request: RecognizedRequest, server) {
      const authorization = authorizationOf(request)
      request.identity = anonymous
      if (authorization === null) return answer(request, server)
      // What is remembered has the right form.
      const remembered = authorization.startsWith(usual) && recognizer.remembered(authorization.slice(usual.length))
      if (remembered) {
        introduce(request, remembered, again)
        return answer(request, server)
      }
      const credential = credentialIn(authorization)
      if (credential === undefined) {
        request.isCredentialRefused = true
        return answer(request, server)
      }
      request.startedMs = performance.now()
      if (probes.test(request.url)) return answer(request, server)
      return look(request, credential).then(
        identity => {
          if (identity) introduce(request, identity, again)
          else request.isCredentialRefused = true
          return answer(request, server)
        },
        thrown => {
          request.unrecognized = thrown ?? new Error('the credential could not be checked')
          return answer(request, server)
        },
      )
    }
}

/** As if a program had put it in; what pages of others may do with it is not decided here. */
function ofCookie({ headers }: Request): string | null {
  const token = cookieOf(headers, sessionCookies.access)
  return token === undefined ? null : usual + token
}

/** What it reads is not older than what its actor has written. */
function introduce(request: RecognizedRequest, identity: Identity, again: RecognizedRequest['recognizeAgain']): void {
  request.identity = identity
  request.recognizeAgain = again
  const caller = currentCaller()
  const actor = actorOf(identity)
  if (caller && actor !== undefined) caller.actor = actor
}

/** Around the whole request, too: what one of its hooks learns of the caller, the others find. */
export function separateCallers(answer: Handler): Handler {
  return (request, server) => asCaller({}, () => answer(request, server))
}
