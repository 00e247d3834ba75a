import { defineModule } from '@/core/module'
import { user } from '@/modules/user'
import { serviceKeyController } from './admin.controller'
import { apiKeyBiz } from './biz'
import { apiKeyController } from './controller'
import { apiKeys } from './schema'
import { apiKeyStore } from './store'

export const apiKey = defineModule({
  name: 'api-key',
  needs: ['db', 'clock', 'log', 'revocations'],
  uses: { user },
  tables: [apiKeys],
  create(ports, { user: users }) {
    const biz = apiKeyBiz({ ...ports, keys: apiKeyStore, users })
    return {
      biz,
      faces: { api: apiKeyController(biz), admin: serviceKeyController(biz), identifiers: { api: biz.identifier } },
    }
  },
})
export type { ApiKeyBiz } from './biz'
