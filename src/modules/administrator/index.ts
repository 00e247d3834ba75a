import { defineModule } from '@/core/module'
import { session } from '@/modules/session'
import { administratorBiz } from './biz'
import { administrators } from './schema'
import { administratorStore } from './store'

/** Who may use the admin server. They log in by the module admin-session. */
export const administrator = defineModule({
  name: 'administrator',
  needs: ['db', 'passwords', 'revocations'],
  uses: { session },
  tables: [administrators],
  create(ports, { session: sessions }) {
    return { biz: administratorBiz({ ...ports, administrators: administratorStore, sessions }), faces: {} }
  },
})
export type { AdministratorBiz } from './biz'
export { Administrator } from './schema'
