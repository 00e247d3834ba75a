import { defineErrors } from '@/core/error'
import { Bytes, Id, Input, type Of, OneOf, Page, secret, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const sessionErrors = defineErrors({
  // The same words for both: whether there is an account is nobody's business.
  LogInRefused: ['Unauthenticated', 'The username or password is wrong.'],
  RefreshTokenInvalid: ['Unauthenticated', 'This refresh token is not valid, or not any more; log in again.'],
  SessionNotFound: ['NotFound', 'There is no such session, or it has ended; the list of sessions has those that go on.'],
})

/** Whose accounts a session is of: those of the API server, or of the admin server. */
export const Realm = OneOf(['api', 'admin'], { description: 'The server that the session is with.' })
export type Realm = Of<typeof Realm>

export const seedBytes = 32

/** A row is all that came from one log-in: each refresh gives it the next generation, and whoever comes with an old one ends it. */
export const sessions = defineTable(
  'session',
  {
    realm: Realm,
    accountId: Id('Whose session it is.'),
    seed: secret(Bytes(seedBytes, 'Random; part of each refresh token of the session is computed from it.')),
    generation: Type.Integer({ minimum: 1, description: 'Of its newest refresh token.' }),
    rotatedAt: Timestamp('When that was made.'),
    expiresAt: Timestamp('When it ends, however much it is used.'),
    idleUntil: Timestamp('When it ends unless it is refreshed before; never later than expiresAt.'),
    userAgent: Type.Optional(Type.String({ maxLength: 256, description: 'What the client called itself, when it was last refreshed.' })),
    address: Type.String({ maxLength: 64, description: 'Where the client was, when it was last refreshed.' }),
    lastUsedAt: Timestamp('When it was last used, give or take a minute.'),
    provenAt: Type.Optional(Timestamp('When it was last proven who has it: by the log-in, or by what was asked for since.')),
  },
  { sortable: ['createdAt'], indexes: [['realm', 'accountId'], ['idleUntil']] },
)
export type SessionTable = typeof sessions
export type SessionRow = RowOf<SessionTable>

/** What leaves the process of a session. */
export const Session = Type.Object(
  {
    ...Type.Pick(sessions.schema, ['id', 'createdAt', 'lastUsedAt', 'expiresAt', 'userAgent', 'address']).properties,
    isCurrent: Type.Boolean({ description: 'Whether it is the one that asks.' }),
  },
  { additionalProperties: false },
)
export type Session = Of<typeof Session>

export const SessionPage = Page(Session)
export type SessionPage = Of<typeof SessionPage>

/** What a client gets that has logged in or refreshed. */
export const SessionTokens = Type.Object(
  {
    accessToken: Type.String({ description: 'For Authorization: Bearer. Opaque to clients.' }),
    refreshToken: Type.String({ description: 'Good for one refresh. Opaque; keep it where no script of others reads it.' }),
    expiresInSeconds: Type.Integer({ minimum: 1, description: 'How long the access token is good for.' }),
  },
  { additionalProperties: false },
)
export type SessionTokens = Of<typeof SessionTokens>

/** What somebody refreshes with. Whatever is too long is none of ours. */
const RefreshToken = Type.String({ minLength: 1, maxLength: 256, description: 'The last refresh token of the session.' })
export const Refresh = Input({ refreshToken: RefreshToken }, { description: 'What the session is refreshed with.' })
