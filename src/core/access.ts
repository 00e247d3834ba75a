/**
 * Who may call a route: any one rule of the set is enough. Every route declares its set; what is declared is shown in Swagger.
 */
export type Access =
  | { readonly rule: 'everyone' }
  | { readonly rule: 'owner' }
  | { readonly rule: 'apiKey'; readonly scope: string }
  | { readonly rule: 'admin'; readonly permission: string }

/** Also callers that nobody knows. */
export const everyone = (): Access => ({ rule: 'everyone' })
/** The account that the object belongs to. */
export const owner = (): Access => ({ rule: 'owner' })
/** A key with this scope, such as `users:read`. */
export const apiKey = (scope: string): Access => ({ rule: 'apiKey', scope })
/** An administrator with this permission, such as `users:suspend`. */
export const admin = (permission: string): Access => ({ rule: 'admin', permission })

/** `owner`, `apiKey(users:read)`: as it stands in the documents. */
export function accessName(access: Access): string {
  if (access.rule === 'apiKey') return `apiKey(${access.scope})`
  if (access.rule === 'admin') return `admin(${access.permission})`
  return access.rule
}
