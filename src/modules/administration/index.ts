import { controller } from '@/core/controller'
import { defineModule } from '@/core/module'
import { adminRole } from '@/modules/admin-role'
import { administrator } from '@/modules/administrator'
import { auditEvent } from '@/modules/audit-event'
import { secondFactor } from '@/modules/second-factor'
import { administratorAudits, administratorAdminBiz } from './administrator.biz'
import { administratorAdminController, invitationController } from './administrator.controller'
import { roleAudits, roleBiz } from './role.biz'
import { permissionController, roleController } from './role.controller'

/**
 * What administrators do with each other. `/admins` and `/invitations` are in administrator.controller.ts, over what the module
 * `administrator` keeps; `/roles` and `/permissions` in role.controller.ts, over what `admin-role` keeps; one's own `/me` is the module
 * `admin-me`. They are here, above both, since each needs the other: who changes an administrator must hold the permissions of the roles,
 * and who changes a role must hold them as an administrator. Below, `administrator` knows `admin-role`, which does not know it: no circle.
 */
export const administration = defineModule({
  name: 'administration',
  needs: ['db', 'log', 'permissions', 'revocations', 'throttle'],
  uses: { adminRole, administrator, secondFactor, auditEvent },
  permissions: [
    { name: 'admins:read', summary: 'See administrators' },
    { name: 'admins:write', summary: 'Make, change, suspend, restore, invite and delete administrators who hold no more than oneself' },
    { name: 'roles:read', summary: 'See roles of administrators' },
    { name: 'roles:write', summary: 'Make, change and delete roles of administrators, of permissions that one holds oneself' },
  ],
  audits: [...administratorAudits, ...roleAudits],
  create(ports, { adminRole: roles, administrator: { invitations, ...administrators }, secondFactor: factors, auditEvent: audit }) {
    const biz = {
      roles: roleBiz({ ...ports, roles, administrators, audit }),
      accounts: administratorAdminBiz({ ...ports, roles, administrators, invitations, factors, audit }),
    }
    const admin = controller({ prefix: '', tags: [] })
      .use(permissionController(biz.roles))
      .use(roleController(biz.roles))
      .use(administratorAdminController(biz.accounts))
      .use(invitationController(biz.accounts))
    return { biz, faces: { admin } }
  },
})
export type { AdministratorAdminBiz } from './administrator.biz'
export type { RoleBiz } from './role.biz'
