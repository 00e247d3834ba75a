import { defineModule } from '@/core/module'
import { adminRoleBiz } from './biz'
import { adminRoles } from './schema'
import { adminRoleStore } from './store'

/** What administrators may do, by role. Who may change that is the module administration's. */
export const adminRole = defineModule({
  name: 'admin-role',
  needs: ['db', 'permissions'],
  tables: [adminRoles],
  create(ports) {
    return { biz: adminRoleBiz({ ...ports, roles: adminRoleStore }), faces: {} }
  },
})
export { type AdminRoleBiz, permissionsOf } from './biz'
export { AdminRole, AdminRolePage, AdminRolePatch, adminRoleErrors, NewAdminRole, RoleName, rootRoleId, rootRoleName } from './schema'
