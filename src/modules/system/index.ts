import { defineModule } from '@/core/module'
import { permission, systemBiz } from './biz'
import { systemCommands } from './commands'
import { systemController } from './controller'

export const system = defineModule({
  name: 'system',
  needs: ['processes', 'dependencies', 'clock', 'log'],
  permissions: [{ name: permission, summary: 'See processes, and whether what they work with is there' }],
  create(ports) {
    const biz = systemBiz(ports)
    return { biz, faces: { admin: systemController(biz), commands: systemCommands(biz) } }
  },
})
export type { SystemBiz } from './biz'
