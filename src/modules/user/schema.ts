import { defineErrors } from '@/core/error'
import { defineTask } from '@/core/queue/task'
import { Id, Input, type Of, OneOf, Page, secret, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const userErrors = defineErrors({
  UserNotFound: ['NotFound', 'There is no such user.'],
  UsernameTaken: ['Conflict', 'This username is taken.'],
  EmailTaken: ['Conflict', 'This e-mail address is already registered.'],
  PasswordNeeded: ['Unprocessable', 'This change needs the current password.'],
  PasswordWrong: ['Unprocessable', 'This is not the current password.'],
  EmailNotYours: ['PermissionDenied', 'The key of a service cannot change e-mail addresses: the user does so, who knows the password.'],
  EmailChangedOften: ['ResourceExhausted', 'The e-mail address has just been changed. Try again later.'],
  MessageOften: ['ResourceExhausted', 'The user has just been sent such a message. Try again later.'],
  Suspended: ['Unprocessable', 'This user is suspended, so the code would be of no use: restore them first.'],
  MessageTaken: ['Aborted', 'Another message was sent at the same time. Try again.'],
  IdsWrong: ['InvalidArgument', 'Ask for 1 to 100 ids, of at most 64 characters each.'],
  WhomMissing: ['InvalidArgument', 'Say whom: an id, or a username.'],
  StatusUnknown: ['InvalidArgument', 'There is no such status: ask for active or suspended users, or for all by leaving it out.'],
  AfterWrong: ['InvalidArgument', 'The id to go on behind must be one that was got before, or empty for the beginning.'],
  WatchesFull: ['ResourceExhausted', 'Too many users are watched here. Try again a little later, at another process if there is one.'],
  TooManyWatches: [
    'ResourceExhausted',
    'You watch too many users at a time: end some of the streams, or ask for them now and then instead.',
  ],
  WatchBroken: ['Unavailable', 'Whether the user has changed cannot be told at the moment. Watch again.'],
  SignUpClosed: ['PermissionDenied', 'Nobody can sign up here at the moment. Ask an administrator for an account.'],
})

const Nickname = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[^\\u0000-\\u001f\\u007f]*$',
  description: 'A name to show, 1–64 characters without control characters.',
  examples: ['Ada Lovelace'],
})
export const Status = OneOf(['active', 'suspended'], { description: 'Suspended users cannot log in.' })

const username = /^[a-z0-9_.-]{3,32}$/
/** Whether somebody could have this username, as it is kept. */
export const isUsername = (text: string): boolean => username.test(text)

export const users = defineTable(
  'user',
  {
    username: Type.String({ maxLength: 32, pattern: username.source, description: '3–32 of a–z, 0–9, _ . -', examples: ['ada'] }),
    email: Type.String({ maxLength: 254, description: 'In lower case.', examples: ['ada@example.com'] }),
    nickname: Type.Optional(Nickname),
    passwordHash: secret(Type.String({ maxLength: 255 })),
    status: Status,
    emailVerifiedAt: Type.Optional(Timestamp('When they have shown that they read the mail of the address; absent until then.')),
  },
  {
    unique: [
      { columns: ['username'], taken: () => userErrors.UsernameTaken({ problems: [{ pointer: '/username', detail: 'is taken' }] }) },
      { columns: ['email'], taken: () => userErrors.EmailTaken({ problems: [{ pointer: '/email', detail: 'is already registered' }] }) },
    ],
    sortable: ['createdAt', 'username', 'email'],
    indexes: [
      ['status', 'createdAt'],
      ['status', 'username'],
      ['status', 'email'],
    ],
    cache: { ttlMs: 60_000 },
  },
)
export type UserTable = typeof users
export type UserRow = RowOf<UserTable>

/** What leaves the process: a list, so that a new column stays inside until someone adds it here. */
export const User = Type.Pick(users.schema, ['id', 'username', 'email', 'nickname', 'status', 'createdAt', 'updatedAt', 'version'], {
  additionalProperties: false,
})
export type User = Of<typeof User>

/** What users and administrators see, and other programs need not know. */
export const Account = Type.Object(
  { ...User.properties, ...Type.Pick(users.schema, ['emailVerifiedAt']).properties },
  { additionalProperties: false },
)
export type Account = Of<typeof Account>

/** Before trimming and lower-casing, which biz does for every face. */
const UsernameInput = Type.String({
  pattern: '^\\s{0,16}[A-Za-z0-9_.-]{3,32}\\s{0,16}$',
  description: '3–32 of a–z, 0–9, _ . -; trimmed and lower-cased.',
  examples: ['ada'],
})
export const EmailInput = Type.String({
  // One @, a local part of 64 (RFC 5321 §4.5.3.1.1) and a domain with a dot. Whether it exists only a message can tell.
  pattern: "^\\s{0,16}[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\\.[A-Za-z0-9-]{1,63})+\\s{0,16}$",
  maxLength: 254,
  description: 'An e-mail address; trimmed and lower-cased.',
  examples: ['ada@example.com'],
})

export const NewPassword = Type.String({
  minLength: 8,
  maxLength: 128,
  description: '8–128 characters, any; none of the 3,000 most common passwords.',
  examples: ['correct horse battery staple'],
})
/** One that is checked, whatever the rules were when it was chosen. */
export const CurrentPassword = Type.String({ minLength: 1, maxLength: 128, description: 'The current password.' })

export const SignUp = Input(
  {
    username: UsernameInput,
    email: EmailInput,
    password: NewPassword,
    nickname: Type.Optional(Nickname),
  },
  { description: 'A new account.' },
)
export type SignUp = Of<typeof SignUp>

export const NewUser = Input(
  { username: UsernameInput, email: EmailInput, nickname: Type.Optional(Nickname) },
  { description: 'Somebody who is sent an invitation, and chooses a password with it.' },
)
export type NewUser = Of<typeof NewUser>

export const UserPatch = Input(
  {
    email: Type.Optional(EmailInput),
    nickname: Type.Optional(Type.Union([Nickname, Type.Null()], { description: 'A name of 1–64 characters; null removes it.' })),
    currentPassword: Type.Optional({
      ...CurrentPassword,
      description: 'The current password, which a change of the e-mail address needs.',
    }),
  },
  { description: 'What to change, as a JSON Merge Patch (RFC 7396).' },
)
export type UserPatch = Of<typeof UserPatch>

/** Why a user is written to. */
export const Purpose = OneOf(
  [
    'welcome',
    'invitation',
    'verifyEmail',
    'resetPassword',
    'passwordChanged',
    'passwordReset',
    'emailChanged',
    'apiKeyMade',
    'chatLinked',
    'accountDeleted',
  ],
  { description: 'Why a message is sent.' },
)
export type Purpose = Of<typeof Purpose>

/** When users were last written to, by purpose: the next message has to wait, the longer the more of them there were. */
export const userMessages = defineTable(
  'userMessage',
  {
    userId: Id(),
    purpose: Purpose,
    times: Type.Integer({ minimum: 1, description: 'How many, one soon after another.' }),
    lastAt: Timestamp('When the last was asked for.'),
  },
  { unique: [{ columns: ['userId', 'purpose'], taken: userErrors.MessageTaken }] },
)

const Message = Input({
  userId: users.schema.properties.id,
  purpose: Purpose,
  /** Where it goes when that is not the address that the user has by then; encrypted. */
  sealedTo: Type.Optional(Type.String({ maxLength: 1024 })),
})
export type Message = Of<typeof Message>

/**
 * Whom to write to, and why; whatever the message says is looked up when it is sent, since payloads are kept where many can read. Codes
 * are made then, too, with each attempt another.
 */
export const sendEmail = defineTask('email.send', Message, { queue: 'mail', timeoutMs: 120_000, byHand: 'users:reset' })

export const UserPage = Page(User)
export type UserPage = Of<typeof UserPage>
