import { defineTask } from '@/core/queue/task'
import { Input, type Of, Page, Timestamp, Type } from '@/core/schema'
import { Account, CurrentPassword, EmailInput, NewPassword } from '@/modules/user'
import { Code } from '@/modules/user-code'

export const PasswordChange = Input(
  {
    currentPassword: CurrentPassword,
    password: NewPassword,
    keepOtherSessions: Type.Optional(Type.Boolean({ description: 'Other sessions end unless this is true. This one and API keys go on.' })),
  },
  { description: 'Another password.' },
)
export type PasswordChange = Of<typeof PasswordChange>

export const CodeInput = Input({ code: Code }, { description: 'The code that was sent to your address.' })
export type CodeInput = Of<typeof CodeInput>

export const ResetRequest = Input({ email: EmailInput }, { description: 'Whose password is to be reset.' })
export type ResetRequest = Of<typeof ResetRequest>

export const Reset = Input({ code: Code, password: NewPassword }, { description: 'The code that was sent, and another password.' })
export type Reset = Of<typeof Reset>

/** What was asked for will be done, or there is nothing to do; which of them is not said. */
export const Accepted = Type.Object({ message: Type.String({ description: 'For people.' }) }, { additionalProperties: false })
export type Accepted = Of<typeof Accepted>

export const AccountPage = Page(Account)
export type AccountPage = Of<typeof AccountPage>

/** One account, with what else an administrator wants to know of it at once. */
export const AccountDetails = Type.Object(
  {
    ...Account.properties,
    sessionCount: Type.Integer({ minimum: 0, description: 'Sessions that go on.' }),
    apiKeyCount: Type.Integer({ minimum: 0, description: 'API keys that are good.' }),
    lastSeenAt: Type.Optional(Timestamp('When a session was last used, give or take a minute; absent when none is kept.')),
  },
  { additionalProperties: false },
)
export type AccountDetails = Of<typeof AccountDetails>

export const EndedSessions = Type.Object(
  { endedCount: Type.Integer({ minimum: 0, description: 'How many sessions have ended.' }) },
  { additionalProperties: false },
)
export type EndedSessions = Of<typeof EndedSessions>

const StartReset = Input({ sealedEmail: Type.String({ maxLength: 1024, description: 'The address as it was given; encrypted.' }) })
export type StartReset = Of<typeof StartReset>

/**
 * Somebody wants to reset the password of whoever has this address. Whether anybody has is found out by the task: the request takes as
 * long either way.
 */
export const startReset = defineTask('account.startReset', StartReset, { queue: 'mail', timeoutMs: 30_000, maxRetries: 8, byHand: 'never' })
