import { admin, user } from '@/core/access'
import { type AnyCommand, defineCommand } from '@/core/command'
import { Type } from '@/core/schema'
import type { UserLookupBiz } from './biz'

const usernameMax = 64

export const userLookupCommands = (biz: UserLookupBiz): AnyCommand[] => [
  defineCommand({
    name: 'user',
    summary: 'Show an account: your own, or for administrators that of anybody',
    args: Type.Object({
      name: Type.Optional(Type.String({ minLength: 1, maxLength: usernameMax, description: 'Username; your own account without it.' })),
    }),
    access: [user(), admin('users:read')],
    run: ({ name }, { asking, chat, signal }) => biz.show(name, asking, { isPrivate: chat.isPrivate, signal }),
  }),
]
