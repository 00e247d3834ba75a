import { Input, type Of, Timestamp, Type } from '@/core/schema'
import { CurrentPassword } from '@/modules/user'

export const NewChatLink = Input(
  { currentPassword: CurrentPassword },
  { description: 'What shows that it is you: whoever has the code can link a chat account, which goes on when you log out.' },
)
export type NewChatLink = Of<typeof NewChatLink>

export const LinkCode = Type.Object(
  {
    code: Type.String({ description: 'It is shown this once, is good once, and makes the one before void.', examples: ['K7QM-2XHD-PW4C'] }),
    command: Type.String({ description: 'What to send to the bot, in a private chat.', examples: ['/link K7QM-2XHD-PW4C'] }),
    expiresAt: Timestamp('From when on it is void.'),
  },
  { additionalProperties: false },
)
export type LinkCode = Of<typeof LinkCode>
