import { defineErrors } from '@/core/error'
import { Input, type Of, Type } from '@/core/schema'
import { SessionTokens } from '@/modules/session'
import { User } from '@/modules/user'

export const userSessionErrors = defineErrors({
  AccountSuspended: ['PermissionDenied', 'This account is suspended.'],
})

export const LogIn = Input(
  {
    login: Type.String({ minLength: 1, maxLength: 300, description: 'The username or the e-mail address.', examples: ['ada'] }),
    password: Type.String({ minLength: 1, maxLength: 128, examples: ['correct horse battery staple'] }),
  },
  { description: 'Who wants to log in.' },
)
export type LogIn = Of<typeof LogIn>

export const LoggedIn = Type.Object({ ...SessionTokens.properties, user: User }, { additionalProperties: false })
export type LoggedIn = Of<typeof LoggedIn>
