import { platformNames } from '@/core/chat'
import { defineErrors } from '@/core/error'
import { Id, type Of, OneOf, Page, secret, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const chatLinkRecordErrors = defineErrors({
  // The same for one that never was, has expired, or was used: each would help whoever guesses.
  CodeInvalid: [
    'Unprocessable',
    'This code is not valid, or not any more. Make a new one: POST /api/v1/me/chat-links, or /admin/v1/me/chat-links for administrators.',
  ],
  LinkNotFound: ['NotFound', 'There is no such link, or not any more; the list of your chat links has those that there are.'],
  TooManyLinks: ['Conflict', 'Your account has as many chat accounts as may be. Delete one of its chat links first.'],
  CodeTaken: ['Aborted', 'Another code was made at the same time. Try again.'],
  LinkTaken: ['Aborted', 'This chat account was linked at the same time. Try again.'],
})

/** Most chat accounts of one account. */
export const linksMax = 10
/** Whoever has made a code goes to the chat and sends it. */
export const codeLifetimeMs = 600_000

export const AccountKind = OneOf(['user', 'admin'], { description: 'Whether the account is a user or an administrator.' })
export type AccountKind = Of<typeof AccountKind>

const account = { accountKind: AccountKind, accountId: Id('The account.') }
// Keyed, since a code is short enough to be typed: who reads the table cannot try all that there are.
const codeHash = secret(Type.String({ maxLength: 43, description: 'Keyed digest of the code.' }))

/** Whose account a chat account is: at most one. */
export const chatLinks = defineTable(
  'chatLink',
  {
    platform: OneOf(platformNames, { description: 'The platform that the chat account is on.' }),
    senderId: Type.String({ minLength: 1, maxLength: 64, description: 'As the platform calls the chat account.' }),
    senderName: Type.String({ maxLength: 100, description: 'As the platform showed it when it was linked; anybody can be called so.' }),
    ...account,
    provenAt: Timestamp('When it was last proven whose account it is, as the last code took it.'),
    codeHash,
  },
  {
    unique: [{ columns: ['platform', 'senderId'], taken: () => chatLinkRecordErrors.LinkTaken() }],
    sortable: ['createdAt'],
    indexes: [['accountKind', 'accountId'], ['codeHash']],
  },
)
export type ChatLinkRow = RowOf<typeof chatLinks>

/** At most one is good for each account, the newest. */
export const chatLinkCodes = defineTable(
  'chatLinkCode',
  {
    ...account,
    codeHash,
    provenAt: Timestamp('When whoever has made it has proven who they are.'),
    expiresAt: Timestamp('From when on it is void.'),
  },
  {
    unique: [
      { columns: ['accountKind', 'accountId'], taken: () => chatLinkRecordErrors.CodeTaken() },
      { columns: ['codeHash'], taken: () => chatLinkRecordErrors.CodeTaken() },
    ],
    indexes: [['expiresAt']],
  },
)

/** What leaves the process of a link. */
export const ChatLink = Type.Pick(chatLinks.schema, ['id', 'platform', 'senderId', 'senderName', 'provenAt', 'createdAt'], {
  additionalProperties: false,
})
export type ChatLink = Of<typeof ChatLink>
export const ChatLinkPage = Page(ChatLink)
export type ChatLinkPage = Of<typeof ChatLinkPage>
