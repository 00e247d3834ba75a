import { type AppError, defineErrors } from './error'
import type { Anonymous, Identity } from './identity'
import { everything } from './permission'

/**
 * Who may call a route, a method of gRPC or a command: any one rule of the set is enough. Each declares its set, which is enforced before it
 * is asked; Swagger and the documents show it.
 */
export type Access =
  | { readonly rule: 'everyone' }
  | { readonly rule: 'user' }
  | { readonly rule: 'owner'; readonly ownerOf: OwnerOf | undefined }
  | { readonly rule: 'apiKey'; readonly scope: string }
  | { readonly rule: 'service'; readonly scope: string }
  | { readonly rule: 'admin'; readonly permission: string | undefined; readonly isDangerous: boolean }

/** The user whom the object of a path belongs to; undefined when there is no such object. */
export type OwnerOf = (params: Readonly<Record<string, string>>) => Promise<string | undefined>

/** Also callers that nobody knows. */
export const everyone = (): Access => ({ rule: 'everyone' })
/** Whoever has logged in. The route looks only at what is the caller's own, such as `/me`. */
export const user = (): Access => ({ rule: 'user' })
/**
 * The user whom the object belongs to.
 * @param ownerOf who that is. Without it the object is the user, whose id is the path's `id`
 */
export const owner = (ownerOf?: OwnerOf): Access => ({ rule: 'owner', ownerOf })
/** A key with this scope, such as `users:read`. A user's key may do so what the user may; for the rest it must be a service's. */
export const apiKey = (scope: string): Access => ({ rule: 'apiKey', scope })
/** Another service with this scope, such as `users:read`, by its token or its certificate: for methods of gRPC. */
export const service = (scope: string): Access => ({ rule: 'service', scope })
/**
 * An administrator with this permission, such as `users:suspend`, which a module declares. Without one any administrator, for what is the
 * caller's own.
 * @param options `isDangerous`: the caller has proven not long ago who it is, by password or second factor, or has to (RFC 9470)
 */
export const admin = (permission?: string, { isDangerous = false } = {}): Access => ({ rule: 'admin', permission, isDangerous })

/** `owner`, `apiKey(users:read)`: as they stand in the documents. Where no user may call, no key of one may: `serviceKey(users:read)`. */
export function accessNames(rules: readonly Access[]): string[] {
  const key = rules.some(({ rule }) => rule === 'everyone' || rule === 'user' || rule === 'owner') ? 'apiKey' : 'serviceKey'
  return rules.map(rule => accessName(rule, key))
}

function accessName(access: Access, key: 'apiKey' | 'serviceKey'): string {
  if (access.rule === 'apiKey') return `${key}(${access.scope})`
  if (access.rule === 'service') return `service(${access.scope})`
  if (access.rule === 'admin' && (access.permission !== undefined || access.isDangerous))
    return `admin(${[access.permission, access.isDangerous ? 'proven' : undefined].filter(Boolean).join(', ')})`
  return access.rule
}

export const accessErrors = defineErrors({
  Credentials: ['Unauthenticated', 'Log in first: send Authorization: Bearer with an access token or an API key.'],
  Token: ['Unauthenticated', 'The access token or API key is not valid, or not any more: refresh it, or log in again.'],
  NotYours: ['PermissionDenied', 'This belongs to somebody else.'],
  NotFound: ['NotFound', 'There is no such thing.'],
  Scope: ['PermissionDenied', 'The API key does not have the scope that this needs.'],
  ServiceScope: [
    'PermissionDenied',
    'The service does not have the scope that this needs: add it to rpc.services, or to the `scopes` of the client that calls.',
  ],
  Permission: ['PermissionDenied', 'You do not have the permission that this needs.'],
  SecondFactor: ['PermissionDenied', 'Here everybody needs a second factor: set yours up first, at /admin/v1/me/second-factor.'],
  Proof: [
    'Unauthenticated',
    'This needs a proof of who you are that is not old: send your password or a code to /admin/v1/sessions/current/proof.',
  ],
  NotForYou: ['PermissionDenied', 'This is not for callers of your kind.'],
})

/**
 * Whether somebody may do what a route with these rules does with the object of a path.
 * @returns undefined when yes, else what to answer: the most helpful of what is true, and nothing that says whose an object is, or
 * whether there is one. A promise only where the caller could be the owner and a rule has to ask who that is.
 */
export function decide(identity: Identity, rules: readonly Access[], params: Params): AppError | undefined | Promise<AppError | undefined> {
  if (isForEveryone(rules)) return undefined
  if (identity.kind === 'user') return ofUser(identity.id, rules, params)
  if (identity.kind === 'apiKey') return ofKey(identity, rules, params)
  if (identity.kind === 'admin') return ofAdmin(identity, rules)
  if (identity.kind === 'service') return ofService(identity, rules)
  return accessErrors.Credentials()
}

export const isForEveryone = (rules: readonly Access[]): boolean => rules.some(({ rule }) => rule === 'everyone')

type Params = Readonly<Record<string, string>>
type Known<K extends Identity['kind']> = Extract<Exclude<Identity, Anonymous>, { kind: K }>

function ofUser(id: string, rules: readonly Access[], params: Params): AppError | undefined | Promise<AppError | undefined> {
  const owners: OwnerOf[] = []
  let ownsSelf = false
  for (const rule of rules) {
    if (rule.rule === 'user') return undefined
    if (rule.rule !== 'owner') continue
    if (rule.ownerOf) owners.push(rule.ownerOf)
    else if (params['id'] === id) return undefined
    else ownsSelf = true
  }
  if (owners.length > 0) return ofOwner(id, owners, params)
  return ownsSelf ? accessErrors.NotYours() : notFor(rules)
}

/** What belongs to another and what is not there are answered alike, so that nobody learns which it is. */
async function ofOwner(id: string, owners: readonly OwnerOf[], params: Params): Promise<AppError | undefined> {
  for (const ownerOf of owners) if ((await ownerOf(params)) === id) return undefined
  return accessErrors.NotFound()
}

function ofKey({ scopes, userId }: Known<'apiKey'>, rules: readonly Access[], params: Params) {
  if (!rules.some(rule => rule.rule === 'apiKey' && scopes.has(rule.scope))) return withoutScope(rules)
  if (userId !== undefined) return ofUser(userId, rules, params)
  // Nothing is the own of a service, which is nobody.
  return rules.some(({ rule }) => rule === 'user') ? notFor(rules) : undefined
}

function withoutScope(rules: readonly Access[]): AppError {
  const wanted = rules.flatMap(rule => (rule.rule === 'apiKey' ? [rule.scope] : []))
  return wanted.length === 0 ? notFor(rules) : accessErrors.Scope({ ...lacking('scope', wanted), scopes: wanted })
}

function ofAdmin({ permissions, lacks, provenUntilMs }: Known<'admin'>, rules: readonly Access[]): AppError | undefined {
  const own = rules.filter(rule => rule.rule === 'admin')
  if (own.length === 0) return notFor(rules)
  const met = own.filter(({ permission }) => permission === undefined || permissions.has(everything) || permissions.has(permission))
  if (met.some(({ isDangerous }) => !isDangerous)) return undefined
  if (met.length > 0) return provenUntilMs > Date.now() ? undefined : accessErrors.Proof()
  if (lacks === 'secondFactor') return accessErrors.SecondFactor()
  const wanted = own.flatMap(({ permission }) => permission ?? [])
  return accessErrors.Permission(lacking('permission', wanted))
}

function ofService({ scopes }: Known<'service'>, rules: readonly Access[]): AppError | undefined {
  const wanted = rules.flatMap(rule => (rule.rule === 'service' ? [rule.scope] : []))
  if (wanted.length === 0) return notFor(rules)
  return wanted.some(scope => scopes.has(scope)) ? undefined : accessErrors.ServiceScope({ ...lacking('scope', wanted), scopes: wanted })
}

/** Says for whom it is. */
const notFor = (rules: readonly Access[]): AppError =>
  accessErrors.NotForYou({
    problems: rules.length === 0 ? [] : [{ pointer: 'authorization', detail: `must be of ${accessNames(rules).join(' or ')}` }],
  })

/** Its name, for whoever makes the key or the administrator. */
const lacking = (what: 'scope' | 'permission', wanted: readonly string[]) => ({
  problems: wanted.map(name => ({ pointer: 'authorization', detail: `does not have the ${what} ${name}` })),
})
