import { defineModule } from '@/core/module'
import { auditEvent } from '@/modules/audit-event'
import { audits, settingBiz } from './biz'
import { settingCommands } from './commands'
import { settingController } from './controller'
import { settings } from './schema'
import { settingStore } from './store'

/** What is changed while everything runs. Whoever goes by it asks the port `liveSettings`. */
export const setting = defineModule({
  name: 'setting',
  needs: ['db', 'log', 'revocations', 'liveSettings'],
  uses: { auditEvent },
  tables: [settings],
  permissions: [
    { name: 'settings:read', summary: 'See settings' },
    { name: 'settings:write', summary: 'Close the API server for maintenance, open and close sign-up, change the level of the log' },
  ],
  audits,
  create(ports, { auditEvent: audit }) {
    const biz = settingBiz({ ...ports, settings: settingStore, audit })
    return { biz, faces: { admin: settingController(biz), commands: settingCommands(biz) } }
  },
})
