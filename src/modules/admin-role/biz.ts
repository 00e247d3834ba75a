import type { Database } from '@/core/database'
import { everything } from '@/core/permission'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { Expected } from '@/core/store'
import {
  type AdminRole,
  adminRoleErrors,
  type AdminRolePage,
  type AdminRolePatch,
  type AdminRoleRow,
  type NewAdminRole,
  rolesMax,
  rootRoleId,
} from './schema'
import type { adminRoleStore } from './store'

export type AdminRoleBiz = ReturnType<typeof adminRoleBiz>

const primary = { from: 'primary' } as const

/**
 * Roles of administrators: names for sets of permissions. What holds of a role alone is decided here; who may change one, and who has it,
 * is known to the module administration, which calls what changes something in its transactions.
 */
export function adminRoleBiz({ db, permissions, roles }: Pick<Ports, 'db' | 'permissions'> & { roles: typeof adminRoleStore }) {
  async function list(page: PageQuery): Promise<AdminRolePage> {
    const { items, nextPageToken } = await roles(db).list({ ...page, orderBy: 'name' })
    return { items: items.map(view), nextPageToken }
  }

  /** @param on the `tx`, where one asks in a transaction. @throws AdminRoleNotFound */
  const get = async (id: string, on: Database = db): Promise<AdminRole> => view(found(await roles(on).get(id, primary)))

  /** Those of the ids that there are, as they are at this moment. @param on the `tx`, where one asks in a transaction */
  async function ofIds(ids: readonly string[], on: Database = db): Promise<AdminRole[]> {
    return ids.length === 0 ? [] : (await roles(on).getMany(ids, primary)).map(view)
  }

  /** As on the command line. @throws AdminRoleNotFound when one of them is not there */
  const named = (names: readonly string[]): Promise<AdminRole[]> =>
    Promise.all(
      names.map(async name => {
        const problems = [{ pointer: '/roles', detail: `there is no role ${name}` }]
        return view(found(await roles(db).find({ name }, primary), problems))
      }),
    )

  /** @throws NameTaken, PermissionUnknown, TooManyRoles */
  async function create(tx: Database, { name, summary = '', permissions: given }: NewAdminRole): Promise<AdminRole> {
    refuseUnknown(given)
    if ((await roles(tx).count()) >= rolesMax) throw adminRoleErrors.TooManyRoles()
    return view(await roles(tx).create({ name, summary, permissions: given.toSorted() }))
  }

  /**
   * What is a permission no more stays where it is, and does nothing.
   * @throws AdminRoleNotFound, BuiltIn, NameTaken, PermissionUnknown, VersionMismatch
   */
  async function change(tx: Database, before: AdminRole, patch: AdminRolePatch, expected: Expected): Promise<AdminRole> {
    refuseBuiltIn(before)
    const { permissions: given } = patch
    refuseUnknown((given ?? []).filter(permission => !before.permissions.includes(permission)))
    return view(found(await roles(tx).update(before.id, { ...patch, ...(given && { permissions: given.toSorted() }) }, expected)))
  }

  /** @throws AdminRoleNotFound, BuiltIn, VersionMismatch */
  async function remove(tx: Database, before: AdminRole, expected: Expected): Promise<void> {
    refuseBuiltIn(before)
    if (!(await roles(tx).delete(before.id, expected))) throw adminRoleErrors.AdminRoleNotFound()
  }

  /** Every one is for root alone, which nobody makes. */
  function refuseUnknown(given: readonly string[]): void {
    const known = new Set(permissions.map(({ name }) => name))
    const odd = given.filter(permission => !known.has(permission))
    if (odd.length === 0) return
    throw adminRoleErrors.PermissionUnknown({
      problems: odd.map(permission => ({
        pointer: '/permissions',
        detail: permission === everything ? 'only the role root has every permission' : `${permission} is no permission`,
      })),
    })
  }

  return { list, get, ofIds, named, create, change, remove }
}

/** What whoever has these roles may do, in the order of the names. */
export function permissionsOf(roles: readonly Pick<AdminRole, 'permissions'>[]): string[] {
  const all = new Set(roles.flatMap(({ permissions }) => permissions))
  return all.has(everything) ? [everything] : [...all].toSorted()
}

function refuseBuiltIn({ isBuiltIn }: AdminRole): void {
  if (isBuiltIn) throw adminRoleErrors.BuiltIn()
}

function found(row: AdminRoleRow | undefined, problems: { pointer: string; detail: string }[] = []): AdminRoleRow {
  if (!row) throw adminRoleErrors.AdminRoleNotFound({ problems })
  return row
}

const view = (row: AdminRoleRow): AdminRole => ({ ...row, isBuiltIn: row.id === rootRoleId })
