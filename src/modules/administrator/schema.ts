import { defineErrors } from '@/core/error'
import { Input, Json, type Of, OneOf, secret, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const administratorErrors = defineErrors({
  AdministratorNotFound: ['NotFound', 'There is no such administrator.'],
  UsernameTaken: ['Conflict', 'There is an administrator of this name.'],
  Invalid: ['InvalidArgument', 'Some fields are not valid.'],
  // Somebody has to be left who can let others in.
  LastAdministrator: ['Unprocessable', 'This is the last active administrator with every permission. Make another one first.'],
})

export const everything = '*'
/** Such as `users:suspend`; `*` is every one. */
export const Permission = Type.String({
  pattern: '^(\\*|[a-z][a-z-]{0,30}:[a-z][a-z-]{0,30})$',
  maxLength: 62,
  description: 'Such as users:suspend; * is every one.',
  examples: ['users:suspend'],
})
const permissionsMax = 100
export const Permissions = Type.Array(Permission, { maxItems: permissionsMax, uniqueItems: true, description: 'What they may do.' })

export const Status = OneOf(['active', 'suspended'], { description: 'Who is suspended cannot log in.' })
export type Status = Of<typeof Status>

export const administrators = defineTable(
  'administrator',
  {
    username: Type.String({ maxLength: 32, pattern: '^[a-z0-9_.-]{3,32}$', description: '3–32 of a–z, 0–9, _ . -', examples: ['grace'] }),
    passwordHash: secret(Type.String({ maxLength: 255 })),
    status: Status,
    permissions: Json(Permissions),
  },
  {
    unique: [{ columns: ['username'], taken: () => administratorErrors.UsernameTaken() }],
    sortable: ['username'],
  },
)
export type AdministratorTable = typeof administrators
export type AdministratorRow = RowOf<AdministratorTable>

/** What leaves the process: a list, so that a new column stays inside until someone adds it here. */
export const Administrator = Type.Pick(
  administrators.schema,
  ['id', 'username', 'status', 'permissions', 'createdAt', 'updatedAt', 'version'],
  { additionalProperties: false },
)
export type Administrator = Of<typeof Administrator>

/** Longer than a user's, since nothing but it guards everything. */
export const Password = Type.String({
  minLength: 12,
  maxLength: 128,
  description: '12–128 characters, any; none of the most common passwords, also with digits or signs around it.',
})

export const NewAdministrator = Input({ username: administrators.schema.properties.username, password: Password, permissions: Permissions })
export type NewAdministrator = Of<typeof NewAdministrator>
