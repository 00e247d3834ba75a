import { OneOf } from './schema'

/** What keys of users can be made for. Not what ends an account: whoever has stolen a key must not be able to. */
export const userScopes = ['users:read', 'users:write'] as const

/**
 * What API keys can be made for: each is named by `apiKey(…)` of some route. Adding one: a line here, or above where a user's key may
 * have it. A permission of the same name lets an administrator make a service's key with it.
 */
export const scopes = [...userScopes, 'users:delete'] as const
export type ScopeName = (typeof scopes)[number]

export const Scope = OneOf(scopes, { description: 'What the key is for; it cannot do anything else.' })
export const UserScope = OneOf(userScopes, { description: 'What the key is for; it cannot do anything else.' })
