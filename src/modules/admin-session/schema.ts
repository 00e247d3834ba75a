import { defineErrors } from '@/core/error'
import { Input, type Of, Type } from '@/core/schema'
import { Administrator } from '@/modules/administrator'
import { SessionTokens } from '@/modules/session'

export const adminSessionErrors = defineErrors({
  AdministratorSuspended: ['PermissionDenied', 'This administrator is suspended.'],
})

export const LogIn = Input(
  {
    username: Type.String({ minLength: 1, maxLength: 64, description: 'Of the administrator.', examples: ['grace'] }),
    password: Type.String({ minLength: 1, maxLength: 128, examples: ['correct horse battery staple'] }),
  },
  { description: 'Who wants to log in.' },
)
export type LogIn = Of<typeof LogIn>

export const LoggedIn = Type.Object({ ...SessionTokens.properties, administrator: Administrator }, { additionalProperties: false })
export type LoggedIn = Of<typeof LoggedIn>
