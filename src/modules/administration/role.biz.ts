import { type By, doneBy } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import { subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { Expected } from '@/core/store'
import type { AdminRole, AdminRoleBiz, AdminRolePatch, NewAdminRole } from '@/modules/admin-role'
import type { AdministratorBiz } from '@/modules/administrator'
import { refuseUnheld } from './holding.biz'
import { administrationErrors, type PermissionPage } from './schema'

/** What it writes into the audit log. */
export const roleAudits = ['admin-role.change', 'admin-role.create', 'admin-role.delete'] as const

export type RoleBiz = ReturnType<typeof roleBiz>

/** Two who take from each other what they hold must see each other. */
const serializable = { isolation: 'serializable' } as const

interface Neighbors {
  roles: AdminRoleBiz
  administrators: Pick<AdministratorBiz, 'unheld' | 'isHeld'>
  audit: Pick<AuditLog<(typeof roleAudits)[number]>, 'record'>
}

/** What administrators do with roles, and what they can put into them. */
export function roleBiz({
  db,
  log,
  permissions,
  revocations,
  roles,
  administrators,
  audit,
}: Pick<Ports, 'db' | 'log' | 'permissions' | 'revocations'> & Neighbors) {
  /** All of them: they are few. */
  const listPermissions = (): PermissionPage => ({
    items: permissions.map(({ name, summary }) => ({ name, summary })),
    nextPageToken: '',
  })

  /** @throws NotHeld, NameTaken, PermissionUnknown, TooManyRoles */
  async function create(input: NewAdminRole, by: By): Promise<AdminRole> {
    const made = await db.tx(async tx => {
      await refuseUnheld(tx, by, input.permissions, administrators)
      const role = await roles.create(tx, input)
      await audit.record(tx, doneBy(by), { ...entryOn('admin-role.create', role.id), after: auditedFields(role) })
      return role
    }, serializable)
    return logged('made', made, by)
  }

  /**
   * Whoever has it may do so or not within `revocationMaxMs`, everywhere.
   * @throws AdminRoleNotFound, NotHeld, BuiltIn, NameTaken, PermissionUnknown, VersionMismatch
   */
  async function change(id: string, patch: AdminRolePatch, expected: Expected, by: By): Promise<AdminRole> {
    const changed = await db.tx(async tx => {
      const before = await roles.get(id, tx)
      await refuseUnheld(tx, by, [...before.permissions, ...(patch.permissions ?? [])], administrators)
      const role = await roles.change(tx, before, patch, expected)
      const entry = { ...entryOn('admin-role.change', id), before: auditedFields(before), after: auditedFields(role) }
      await audit.record(tx, doneBy(by), entry)
      await revocations.forget(tx, [subjectOf('adminRole', id)])
      return role
    }, serializable)
    return logged('changed', changed, by)
  }

  /** @throws AdminRoleNotFound, NotHeld, BuiltIn, RoleHeld, VersionMismatch */
  async function remove(id: string, expected: Expected, by: By): Promise<void> {
    const removed = await db.tx(async tx => {
      const before = await roles.get(id, tx)
      await refuseUnheld(tx, by, before.permissions, administrators)
      await roles.remove(tx, before, expected)
      if (await administrators.isHeld(tx, id)) throw administrationErrors.RoleHeld()
      await audit.record(tx, doneBy(by), { ...entryOn('admin-role.delete', id), before: auditedFields(before) })
      await revocations.forget(tx, [subjectOf('adminRole', id)])
      return before
    }, serializable)
    logged('deleted', removed, by)
  }

  function logged(what: string, role: AdminRole, by: By): AdminRole {
    log.info(`a role of administrators was ${what}`, { ...doneBy(by), object: subjectOf('adminRole', role.id), name: role.name })
    return role
  }

  return { listPermissions, list: roles.list, get: (id: string) => roles.get(id), create, change, remove }
}

/** What the audit log says of one. */
const auditedFields = ({ name, summary, permissions }: AdminRole) => ({ name, summary, permissions })
