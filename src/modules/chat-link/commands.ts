import { everyone } from '@/core/access'
import { type AnyCommand, defineCommand } from '@/core/command'
import { Input, Type } from '@/core/schema'
import type { ChatLinkBiz, Holder } from './biz'

const howToLink =
  'To link this chat account to yours, log in, get a code at POST /api/v1/me/chat-links, or at POST /admin/v1/me/chat-links as an administrator, and send it to me as /link and the code, in a private chat.'
const openly =
  'I take codes in private chats only. This one is of no use any more, since others may have read it: make a new one, and send it to me in a private chat.'
const privately = 'Ask me in a private chat'

export function chatLinkCommands(biz: ChatLinkBiz): AnyCommand[] {
  return [
    defineCommand({
      name: 'link',
      summary: 'Link this chat account to your account, with a code that you get where you log in.',
      args: Input({
        code: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'The code; leave it out to see how to get one.' })),
      }),
      access: [everyone()],
      async run({ code }, context) {
        if (code === undefined) return howToLink
        if (!context.chat.isPrivate) return openly
        return `You are ${named(await biz.link(code, context))} here now. Send /unlink to end it.`
      },
      overheard: biz.expose,
    }),
    defineCommand({
      name: 'unlink',
      summary: 'End the link of this chat account with your account.',
      args: Input({}),
      access: [everyone()],
      run: async (_, context) =>
        (await biz.unlink(context)) === undefined
          ? 'This chat account is not linked to any account.'
          : 'This chat account is not linked any more.',
    }),
    defineCommand({
      name: 'whoami',
      summary: 'See whose account this chat account is linked to.',
      args: Input({}),
      access: [everyone()],
      async run(_, context) {
        const holder = await biz.whoIs(context)
        if (!context.chat.isPrivate)
          return holder ? `You are linked. ${privately} to whom.` : `You are not linked. ${privately} how to change that.`
        return holder ? `You are ${named(holder)}.` : `I do not know whose account this chat account belongs to. ${howToLink}`
      },
    }),
  ]
}

const named = ({ kind, username }: Holder): string => `the ${kind === 'admin' ? 'administrator' : 'user'} ${username}`
