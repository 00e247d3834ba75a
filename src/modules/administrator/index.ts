import { defineModule } from '@/core/module'
import { adminRole } from '@/modules/admin-role'
import { session } from '@/modules/session'
import { administratorBiz } from './biz'
import { invitationBiz } from './invitation.biz'
import { administrators, invitations } from './schema'
import { administratorStore, invitationStore } from './store'

/** Who may use the admin server. They log in by the module admin-session, and are changed by the module administration. */
export const administrator = defineModule({
  name: 'administrator',
  needs: ['db', 'clock', 'passwords', 'revocations'],
  uses: { adminRole, session },
  tables: [administrators, invitations],
  create(ports, { adminRole: roles, session: sessions }) {
    const biz = administratorBiz({ ...ports, administrators: administratorStore, roles, sessions })
    return { biz: { ...biz, invitations: invitationBiz({ ...ports, invitations: invitationStore }) }, faces: {} }
  },
})
export type { AdministratorBiz } from './biz'
export type { InvitationBiz } from './invitation.biz'
export { Administrator, administratorErrors, AdministratorPage, Invitation, Password, RoleIds, Status, Username } from './schema'
