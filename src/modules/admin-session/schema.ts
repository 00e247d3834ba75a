import { defineErrors } from '@/core/error'
import { Input, type Of, OneOf, Timestamp, Type } from '@/core/schema'
import { Administrator } from '@/modules/administrator'
import { codeMessages, GivenCode } from '@/modules/second-factor'
import { SessionTokens } from '@/modules/session'

export const adminSessionErrors = defineErrors({
  AdministratorSuspended: ['PermissionDenied', 'This administrator is suspended. Ask another one to restore them.'],
  CodeNeeded: ['Unauthenticated', 'Send a code, too: of your authenticator app, or one of your recovery codes.'],
  CodeWrong: ['Unauthenticated', codeMessages.CodeWrong],
  CodesBlocked: ['Unauthenticated', codeMessages.CodesBlocked],
  ProofNeeded: ['Unprocessable', 'Send your password, or a code when you have a second factor.'],
  PasswordWrong: ['Unprocessable', 'This is not your password.'],
  CookieOnly: ['InvalidArgument', 'Send a refresh token, or come with the cookie that has it.'],
})

export const AdminPassword = Type.String({ minLength: 1, maxLength: 128, description: 'The current password.' })

export const Transport = OneOf(['body', 'cookie'], {
  default: 'body',
  description:
    'Where the tokens go: into the body, for programs, or for pages of this server into cookies that no script can read and that browsers send by themselves.',
})

export const LogIn = Input(
  {
    username: Type.String({ minLength: 1, maxLength: 64, description: 'Of the administrator.', examples: ['grace'] }),
    password: Type.String({ minLength: 1, maxLength: 128, examples: ['correct horse battery staple'] }),
    code: Type.Optional(GivenCode),
    transport: Type.Optional(Transport),
  },
  { description: 'Who wants to log in. A code is needed by those who have set up a second factor.' },
)
export type LogIn = Of<typeof LogIn>

const { accessToken, refreshToken, expiresInSeconds } = SessionTokens.properties

/** Without the tokens when they are in cookies. */
export const KeptTokens = Type.Object(
  { accessToken: Type.Optional(accessToken), refreshToken: Type.Optional(refreshToken), expiresInSeconds },
  { additionalProperties: false },
)
export type KeptTokens = Of<typeof KeptTokens>

export const LoggedIn = Type.Object({ ...KeptTokens.properties, administrator: Administrator }, { additionalProperties: false })
export type LoggedIn = Of<typeof LoggedIn>

export const Proof = Input(
  { password: Type.Optional(AdminPassword), code: Type.Optional(GivenCode) },
  { description: 'What shows who you are: a code when you have a second factor, else your password.' },
)
export type Proof = Of<typeof Proof>

export const Proven = Type.Object(
  { provenUntil: Timestamp('Until then no further proof is needed in this session.') },
  { additionalProperties: false },
)
export type Proven = Of<typeof Proven>
