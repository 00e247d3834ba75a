import { everyone } from '@/core/access'
import { type AnyCommand, defineCommand } from '@/core/command'
import { Input, Type } from '@/core/schema'
import type { BotBiz } from './biz'

/** What the bot can do by itself. */
export function botCommands(biz: BotBiz): AnyCommand[] {
  const access = [everyone()]
  const args = Input({})
  const summary = 'Say what I can do for you'
  return [
    defineCommand({ name: 'help', summary, args, access, run: (_, { asking }) => biz.help(asking) }),
    // What Telegram sends when somebody begins a conversation, and may say more behind it.
    defineCommand({ name: 'start', summary, args: Input({ rest: anything }), access, run: (_, { asking }) => biz.help(asking) }),
    defineCommand({ name: 'ping', summary: 'See whether I am there', args, access, run: async () => 'pong' }),
    defineCommand({ name: 'version', summary: 'See which version this is', args, access, run: async () => `bingo ${biz.version()}` }),
  ]
}

const anything = Type.Optional(Type.String({ maxLength: 4096, description: 'It means nothing.' }))
