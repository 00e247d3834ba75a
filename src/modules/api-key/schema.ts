import { defineErrors } from '@/core/error'
import { Id, Input, Json, type Of, Page, secret, Timestamp, Type } from '@/core/schema'
import { Scope, scopes, UserScope, userScopes } from '@/core/scopes'
import { defineTable, type RowOf } from '@/core/table'
import { CurrentPassword } from '@/modules/user'

export const apiKeyErrors = defineErrors({
  ApiKeyNotFound: ['NotFound', 'There is no such API key, or not any more; the list of keys has those that there are.'],
  TooManyApiKeys: ['Conflict', 'There are as many API keys as may be. Delete one that is not needed.'],
  ScopeNotHeld: [
    'PermissionDenied',
    'You do not have every permission that this key would have. Leave out the scopes that you do not hold, or ask somebody who does.',
  ],
  KeyTaken: ['Aborted', 'This key is there already. Try again.'],
})

/** Most keys of one user, and of all services together, which have not expired. */
export const keysMax = { user: 20, service: 200 }
export const daysMax = 365

const name = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[^\\u0000-\\u001f\\u007f]*$',
  description: 'What it is for, 1–64 characters without control characters.',
  examples: ['nightly report'],
})
const requestsPerMinute = Type.Integer({
  minimum: 1,
  maximum: 1_000_000,
  description: 'How many requests it may make in a minute; as the configuration says when absent.',
})

export const apiKeys = defineTable(
  'apiKey',
  {
    userId: Type.Optional(Id('Who may do so what the user may; absent for the key of a service.')),
    name,
    start: Type.String({ maxLength: 16, description: 'How it begins, to tell it from others.', examples: ['bk_4fK2xQ'] }),
    keyHash: secret(Type.String({ maxLength: 64 })),
    scopes: Json(Type.Array(Scope, { minItems: 1, maxItems: scopes.length })),
    requestsPerMinute: Type.Optional(requestsPerMinute),
    expiresAt: Timestamp('From when on it is of no use.'),
    lastUsedAt: Type.Optional(Timestamp('When it was last used, give or take a minute; absent when it never was.')),
  },
  {
    unique: [{ columns: ['keyHash'], taken: apiKeyErrors.KeyTaken }],
    sortable: ['createdAt'],
    indexes: [['userId', 'createdAt'], ['expiresAt']],
  },
)
export type ApiKeyTable = typeof apiKeys
export type ApiKeyRow = RowOf<ApiKeyTable>

/** What leaves the process of a key: never the key itself, which nobody has but its owner. */
export const ApiKey = Type.Pick(
  apiKeys.schema,
  ['id', 'name', 'start', 'scopes', 'requestsPerMinute', 'expiresAt', 'lastUsedAt', 'createdAt'],
  { additionalProperties: false },
)
export type ApiKey = Of<typeof ApiKey>

export const MadeApiKey = Type.Object(
  {
    ...ApiKey.properties,
    key: Type.String({ description: 'For Authorization: Bearer. It is shown this once.', examples: ['bk_…'] }),
  },
  { additionalProperties: false },
)
export type MadeApiKey = Of<typeof MadeApiKey>

export const ApiKeyPage = Page(ApiKey)
export type ApiKeyPage = Of<typeof ApiKeyPage>

const wanted = {
  name,
  expiresInDays: Type.Optional(
    Type.Integer({ minimum: 1, maximum: daysMax, description: `How long it is good for: 1–${daysMax} days, 90 when absent.` }),
  ),
}
const ofScopes = (maxItems: number) => ({ minItems: 1, maxItems, uniqueItems: true, description: 'What it is for.' })
const forUsers = { ...wanted, scopes: Type.Array(UserScope, ofScopes(userScopes.length)), currentPassword: CurrentPassword }
export const NewApiKey = Input(forUsers, { description: 'A key that does what you may do, as far as its scopes go.' })
export type NewApiKey = Of<typeof NewApiKey>

export const NewServiceKey = Input(
  { ...wanted, scopes: Type.Array(Scope, ofScopes(scopes.length)), requestsPerMinute: Type.Optional(requestsPerMinute) },
  { description: 'A key for a service, which is nobody, and may do with everything what its scopes say.' },
)
export type NewServiceKey = Of<typeof NewServiceKey>
