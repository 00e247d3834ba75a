import { Input, type Of, OneOf, Timestamp, Type } from '@/core/schema'
import { AdminPassword } from '@/modules/admin-session'
import { Administrator, Password } from '@/modules/administrator'
import { GivenCode, SecondFactor } from '@/modules/second-factor'

/** Who calls, and what they may do now. */
export const Me = Type.Object(
  {
    administrator: Administrator,
    permissions: Type.Array(Type.String(), { description: 'What you may do now; * is everything. None while lacks says something.' }),
    lacks: Type.Optional(OneOf(['secondFactor'], { description: 'What you have to set up before you may do anything else.' })),
    secondFactor: Type.Optional(SecondFactor),
    sessionId: Type.String({ description: 'The session that asks.' }),
    provenUntil: Timestamp('Until then dangerous operations need no further proof in this session.'),
  },
  { additionalProperties: false },
)
export type Me = Of<typeof Me>

export const PasswordChange = Input(
  { currentPassword: AdminPassword, password: Password },
  { description: 'Another password. Your other sessions end.' },
)
export type PasswordChange = Of<typeof PasswordChange>

export const SetUp = Input({ currentPassword: AdminPassword }, { description: 'What shows that it is you.' })
export type SetUp = Of<typeof SetUp>

export const Begun = Type.Object(
  {
    secret: Type.String({ description: 'For the authenticator app, where it is typed, in base32. Shown once.' }),
    otpauthUri: Type.String({ description: 'The same as an otpauth://totp/ URI (Key URI Format), to be shown as a QR code. Shown once.' }),
    expiresAt: Timestamp('Until then a code of the app has to be sent.'),
  },
  { additionalProperties: false },
)

export const CodeInput = Input({ code: GivenCode }, { description: 'A code of yours.' })
export type CodeInput = Of<typeof CodeInput>

export const RecoveryCodes = Type.Object(
  {
    recoveryCodes: Type.Array(Type.String(), {
      description:
        'Each takes the place of a code of the app once. Print them, or keep them where your passwords are: they are shown once.',
    }),
  },
  { additionalProperties: false },
)
export type RecoveryCodes = Of<typeof RecoveryCodes>
