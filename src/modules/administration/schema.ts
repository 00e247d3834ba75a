import { defineErrors } from '@/core/error'
import { Input, type Of, Page, Type } from '@/core/schema'
import { Administrator, Invitation, Password, RoleIds, Username } from '@/modules/administrator'

export const administrationErrors = defineErrors({
  // Else whoever may change roles could give themselves everything.
  NotHeld: [
    'PermissionDenied',
    'Nobody gives or takes what they do not hold. Ask somebody who holds all the permissions that this is about.',
  ],
  RoleUnknown: ['Unprocessable', 'Some of these are no roles; GET /admin/v1/roles lists those that there are.'],
  // Else whoever finds a session open could choose a password without knowing the current one.
  OwnInvitation: ['Unprocessable', 'Nobody invites themselves. Change your own password with the current one: POST /admin/v1/me/password.'],
  RoleHeld: ['Unprocessable', 'Administrators have this role. Take it from them first.'],
})

/** What can be asked for and given, as the modules declare it. */
export const PermissionPage = Page(
  Type.Object(
    {
      name: Type.String({ description: 'What of, and what.', examples: ['users:suspend'] }),
      summary: Type.String({ description: 'What who has it may do.' }),
    },
    { additionalProperties: false },
  ),
)
export type PermissionPage = Of<typeof PermissionPage>

/** Trimmed and lower-cased before it is checked, as when logging in. */
const UsernameInput = Type.String({ ...Username, maxLength: 64, pattern: '^\\s*[A-Za-z0-9_.-]{3,32}\\s*$' })

export const NewAdministrator = Input(
  { username: UsernameInput, roleIds: RoleIds },
  { description: 'An administrator, who chooses a password with the invitation. Who makes one holds every permission of the roles.' },
)
export type NewAdministrator = Of<typeof NewAdministrator>

export const MadeAdministrator = Type.Object({ administrator: Administrator, invitation: Invitation }, { additionalProperties: false })
export type MadeAdministrator = Of<typeof MadeAdministrator>

export const AdministratorPatch = Input(
  { roleIds: RoleIds },
  { description: 'All the roles from now on. Who changes them holds every permission that there was and will be.' },
)
export type AdministratorPatch = Of<typeof AdministratorPatch>

export const Acceptance = Input(
  {
    code: Type.String({ minLength: 1, maxLength: 128, description: 'Of the invitation.' }),
    password: Password,
  },
  { description: 'Whoever was invited, and a password that nobody else knows.' },
)
export type Acceptance = Of<typeof Acceptance>

export const Accepted = Type.Object(
  { username: Type.String({ description: 'To log in with.' }) },
  { additionalProperties: false, description: 'The password is set; log in at /admin/v1/sessions.' },
)
export type Accepted = Of<typeof Accepted>
