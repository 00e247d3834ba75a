import { everyone } from '@/core/access'
import { type AnyCommand, defineCommand } from '@/core/command'
import { Input } from '@/core/schema'
import type { SystemBiz } from './biz'

export const systemCommands = (biz: SystemBiz): AnyCommand[] => [
  defineCommand({
    name: 'health',
    summary: 'See whether everything runs',
    args: Input({}),
    access: [everyone()],
    run: (_, { asking, chat }) => biz.healthText(asking, chat),
  }),
]
