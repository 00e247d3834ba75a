import { defineErrors } from '@/core/error'
import { Id, Input, Json, type Of, Page, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const adminRoleErrors = defineErrors({
  AdminRoleNotFound: ['NotFound', 'There is no such role of administrators; GET /admin/v1/roles lists those that there are.'],
  NameTaken: ['Conflict', 'There is a role of this name. Choose another.'],
  BuiltIn: ['Unprocessable', 'The role root is built in, so that it cannot be changed or deleted. Make another role.'],
  PermissionUnknown: ['Unprocessable', 'Some of these are no permissions; GET /admin/v1/permissions lists those that there are.'],
  TooManyRoles: ['Unprocessable', 'There are too many roles. Delete some that nobody has.'],
})

/** Of the role that may do everything, which a migration has made. It sorts before all others. */
export const rootRoleId = '00000000-0000-7000-8000-000000000000'
export const rootRoleName = 'root'

/** Roles that there can be. */
export const rolesMax = 1000
const permissionsMax = 200

/** Such as `users:suspend`; `*` is every one. */
export const Permission = Type.String({
  pattern: '^(\\*|[a-z][a-z-]{0,30}:[a-z][a-z-]{0,30})$',
  maxLength: 63,
  description: 'Such as users:suspend; * is every one, which the role root has alone.',
  examples: ['users:suspend'],
})
export const Permissions = Type.Array(Permission, {
  maxItems: permissionsMax,
  uniqueItems: true,
  description: 'What those who have it may do.',
})

export const adminRoles = defineTable(
  'adminRole',
  {
    name: Type.String({
      maxLength: 64,
      pattern: '^[a-z][a-z0-9_.-]{1,63}$',
      description: '2–64 of a–z, 0–9, _ . -',
      examples: ['support'],
    }),
    summary: Type.String({ maxLength: 200, description: 'For people: what it is for.', examples: ['Answers users.'] }),
    permissions: Json(Permissions),
  },
  { unique: [{ columns: ['name'], taken: () => adminRoleErrors.NameTaken() }], sortable: ['name'] },
)
export type AdminRoleTable = typeof adminRoles
export type AdminRoleRow = RowOf<AdminRoleTable>

const { name, summary, permissions } = adminRoles.schema.properties

/** What leaves the process of a role. */
export const AdminRole = Type.Object(
  {
    ...adminRoles.schema.properties,
    isBuiltIn: Type.Boolean({ description: 'Whether it is root, which cannot be changed or deleted.' }),
  },
  { additionalProperties: false },
)
export type AdminRole = Of<typeof AdminRole>

export const AdminRolePage = Page(AdminRole)
export type AdminRolePage = Of<typeof AdminRolePage>

/** A role, as whoever has it is shown with it. */
export const RoleName = Type.Object({ id: Id(), name }, { additionalProperties: false })

export const NewAdminRole = Input(
  { name, summary: Type.Optional(summary), permissions },
  { description: 'A role of administrators. Who makes it holds every permission of it.' },
)
export type NewAdminRole = Of<typeof NewAdminRole>

export const AdminRolePatch = Input(
  { name: Type.Optional(name), summary: Type.Optional(summary), permissions: Type.Optional(permissions) },
  { description: 'What is to be another from now on. Who changes it holds every permission that it had and will have.' },
)
export type AdminRolePatch = Of<typeof AdminRolePatch>
