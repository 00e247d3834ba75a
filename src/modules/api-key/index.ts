import { defineModule } from '@/core/module'
import { administrator } from '@/modules/administrator'
import { auditEvent } from '@/modules/audit-event'
import { user } from '@/modules/user'
import { serviceKeyController } from './admin.controller'
import { audits, apiKeyBiz } from './biz'
import { apiKeyController } from './controller'
import { apiKeys } from './schema'
import { apiKeyStore } from './store'

export const apiKey = defineModule({
  name: 'api-key',
  needs: ['db', 'clock', 'log', 'revocations'],
  uses: { user, administrator, auditEvent },
  tables: [apiKeys],
  permissions: [
    { name: 'api-keys:read', summary: 'See the API keys of services' },
    { name: 'api-keys:write', summary: 'Make and delete the API keys of services, with scopes whose permissions one has' },
  ],
  audits,
  create(ports, { user: users, administrator: administrators, auditEvent: audit }) {
    const biz = apiKeyBiz({ ...ports, keys: apiKeyStore, users, administrators, audit })
    return {
      biz,
      faces: { api: apiKeyController(biz), admin: serviceKeyController(biz), identifiers: { api: biz.identifier, rpc: biz.identifier } },
    }
  },
})
export type { ApiKeyBiz } from './biz'
