import { defineErrors } from '@/core/error'
import { Id, Json, type Of, OneOf, Page, secret, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'
import { RoleName } from '@/modules/admin-role'

export const administratorErrors = defineErrors({
  AdministratorNotFound: ['NotFound', 'There is no such administrator; GET /admin/v1/admins lists those that there are.'],
  UsernameTaken: ['Conflict', 'There is an administrator of this name. Choose another.'],
  Invalid: ['InvalidArgument', 'Some fields are not valid. Mend what is said of each.'],
  // Somebody has to be left who can let others in.
  LastAdministrator: ['Unprocessable', 'This is the last active administrator with the role root. Give the role to another one first.'],
  InvitationInvalid: ['Unprocessable', 'This code is not valid, or not any more. Ask an administrator for a new invitation.'],
  InvitationTaken: ['Aborted', 'Another invitation was made at the same time. Try again.'],
})

export const Status = OneOf(['active', 'suspended'], { description: 'Who is suspended cannot log in.' })
export type Status = Of<typeof Status>

const rolesMax = 20
export const RoleIds = Type.Array(Id('Id of a role.'), { maxItems: rolesMax, uniqueItems: true, description: 'Ids of the roles.' })

export const Username = Type.String({
  maxLength: 32,
  pattern: '^[a-z0-9_.-]{3,32}$',
  description: '3–32 of a–z, 0–9, _ . -',
  examples: ['grace'],
})

export const administrators = defineTable(
  'administrator',
  {
    username: Username,
    // Absent until whoever is invited has chosen a password.
    passwordHash: Type.Optional(secret(Type.String({ maxLength: 255 }))),
    status: Status,
    roleIds: Json(RoleIds),
  },
  {
    unique: [{ columns: ['username'], taken: () => administratorErrors.UsernameTaken() }],
    sortable: ['username'],
  },
)
export type AdministratorTable = typeof administrators
export type AdministratorRow = RowOf<AdministratorTable>

/** What leaves the process: a list, so that a new column stays inside until someone adds it here. */
export const Administrator = Type.Object(
  {
    ...Type.Pick(administrators.schema, ['id', 'username', 'status', 'createdAt', 'updatedAt', 'version']).properties,
    hasPassword: Type.Boolean({ description: 'Whether they can log in: whoever was invited chooses a password first.' }),
    roles: Type.Array(RoleName, { description: 'What they have been given.' }),
    permissions: Type.Array(Type.String(), { description: 'What all the roles allow; * is everything.' }),
  },
  { additionalProperties: false },
)
export type Administrator = Of<typeof Administrator>

export const AdministratorPage = Page(Administrator)
export type AdministratorPage = Of<typeof AdministratorPage>

/** Longer than a user's, since nothing but it guards everything. */
export const Password = Type.String({
  minLength: 12,
  maxLength: 128,
  description: '12–128 characters, any; none of the most common passwords, also with digits or signs around it.',
})

/** One for each who has been invited, or may choose another password: good once, and not for long. */
export const invitations = defineTable(
  'administratorInvitation',
  {
    administratorId: Id(),
    handle: Id('The half of the code by which it is found.'),
    // Fast, and not salted, which is right for what has 160 random bits.
    codeHash: secret(Type.String({ maxLength: 64, description: 'SHA-256 of the code.' })),
    expiresAt: Timestamp('From when on it is void.'),
    makerId: Type.Optional(
      Id('The administrator who has made it, and who is asked for again when it is used; absent for the command line.'),
    ),
  },
  {
    unique: [
      { columns: ['administratorId'], taken: () => administratorErrors.InvitationTaken() },
      { columns: ['handle'], taken: () => administratorErrors.InvitationTaken() },
    ],
  },
)

/** As it is shown to whoever has made it, who hands it over by a way that both trust. */
export const Invitation = Type.Object(
  {
    code: Type.String({ description: 'For POST /admin/v1/invitations/accept. It is shown once.' }),
    expiresAt: Timestamp('From when on it is void.'),
  },
  { additionalProperties: false },
)
export type Invitation = Of<typeof Invitation>
