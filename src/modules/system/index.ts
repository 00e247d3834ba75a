import { defineModule } from '@/core/module'
import { systemBiz } from './biz'
import { systemController } from './controller'

export const system = defineModule({
  name: 'system',
  needs: ['processes', 'dependencies', 'log'],
  permissions: [{ name: 'system:read', summary: 'See processes, and whether what they work with is there' }],
  create(ports) {
    const biz = systemBiz(ports)
    return { biz, faces: { admin: systemController(biz) } }
  },
})
export type { SystemBiz } from './biz'
