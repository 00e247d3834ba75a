import { defineModule } from '@/core/module'
import { userLookupBiz } from './biz'
import { userLookupCommands } from './commands'

/** What others know of accounts, asked of the API by gRPC: for processes that do not serve them. */
export const userLookup = defineModule({
  name: 'user-lookup',
  needs: ['rpc'],
  create(ports) {
    const biz = userLookupBiz(ports)
    return { biz, faces: { commands: userLookupCommands(biz) } }
  },
})
export type { UserLookupBiz } from './biz'
