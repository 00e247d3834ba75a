import { accessErrors, type Access, admin, decide } from './access'
import type { AppError } from './error'
import { type AdminIdentity, anonymous, type Identity, type UserIdentity } from './identity'

/** A request once its server knows who sent it. Kept on the request itself, which handlers and hooks have at no cost. */
export interface IdentifiedRequest extends Request {
  identity?: Identity
  /** Tells who sends it by now: undefined when its credential is not valid any more. */
  recognizeAgain?: ((request: Request) => Promise<Identity | undefined>) | undefined
  /** It came with a credential, which is not valid. */
  isCredentialRefused?: boolean
  /** Who calls may not do what it asks for: a line of the log says so. */
  isDenied?: boolean
}

/**
 * Who calls: for handlers of routes with several rules.
 * @throws Error when the request did not come through a server of ours
 */
export function identityOf(request: Request): Identity {
  const { identity } = request as IdentifiedRequest
  if (!identity) throw new Error('nobody has looked who sends this request; serve the controller with httpApp')
  return identity
}

/**
 * Who calls by now, for answers that go on for longer than a credential may be good: nobody known, when it is not any more.
 * @throws Unavailable when it cannot be told
 */
export async function identityAgain(request: Request): Promise<Identity> {
  const { recognizeAgain } = request as IdentifiedRequest
  return (await recognizeAgain?.(request)) ?? anonymous
}

/**
 * The user who has logged in: for handlers of routes with `user()`.
 * @throws Unauthenticated, or PermissionDenied for those of another kind
 */
export function userOf(request: Request): UserIdentity {
  const identity = identityOf(request)
  if (identity.kind !== 'user') throw another(identity)
  return identity
}

/**
 * The administrator who has logged in: for handlers of routes with `admin()`.
 * @throws Unauthenticated, or PermissionDenied for those of another kind
 */
export function adminOf(request: Request): AdminIdentity {
  const identity = identityOf(request)
  if (identity.kind !== 'admin') throw another(identity)
  return identity
}

/**
 * Whose things the caller means by its own: the user who has logged in, or the one whose key it is. For handlers of routes with
 * `user()` and `apiKey(…)`.
 * @throws Unauthenticated, or PermissionDenied for those of another kind, also a service's key
 */
export function userIdOf(request: Request): string {
  const identity = identityOf(request)
  const id = identity.kind === 'user' ? identity.id : identity.kind === 'apiKey' ? identity.userId : undefined
  if (id === undefined) throw another(identity)
  return id
}

/** Whoever is known need not log in, but is not whom the handler is for. */
const another = ({ kind }: Identity): AppError => (kind === 'anonymous' ? accessErrors.Credentials() : accessErrors.NotForYou())

/**
 * For handlers whose route lets in also those who may not have all that can be asked for.
 * @throws PermissionDenied for an administrator who has not got this permission
 */
export function demand(request: Request, permission: string): void {
  const refusal = decide(identityOf(request), [admin(permission)], {})
  if (refusal) throw denied(request, refusal as AppError)
}

/** What Elysia hands to a hook. */
interface Context {
  request: IdentifiedRequest
  params: Readonly<Record<string, string>>
}

/**
 * The hook that enforces a route's rules, before its input is validated. It waits only where a rule has to ask who the owner is,
 * since a route that waits costs every request a little. Elysia reads its source: a named function without a call behind `return`
 * is one that does not wait.
 */
export function guardOf(rules: readonly Access[]): (context: Context) => void | Promise<void> {
  if (rules.some(rule => rule.rule === 'owner' && rule.ownerOf))
    return async function guard({ request, params }) {
      const refusal = await decide(identityOf(request), rules, params)
      if (refusal) throw denied(request, refusal)
    }
  return function guard({ request, params }) {
    const refusal = decide(identityOf(request), rules, params)
    if (refusal) throw denied(request, refusal as AppError)
  }
}

/** Notes that a request is denied. @returns what to throw: whoever has sent a credential is told that it is the credential */
export function denied(request: IdentifiedRequest, refusal: AppError): AppError {
  request.isDenied = true
  return refusal.kind === 'Unauthenticated' && request.isCredentialRefused ? accessErrors.Token() : refusal
}
