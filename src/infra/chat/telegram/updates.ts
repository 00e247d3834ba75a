import type { ChatGone, ChatMoved, Incoming } from '@/core/chat'
import { type Static, Type, validatorOf } from '@/core/schema'

/**
 * What Telegram tells, as the house understands it. What is of another shape is dropped: it is acknowledged, since it would come again for
 * ever. Everything in it is said by strangers.
 */
export interface Told {
  incoming?: Incoming
  /** The bot was blocked, or removed from a group. */
  gone?: ChatGone
  /** A group has become a supergroup, which has another id. */
  moved?: ChatMoved
}

export interface Bot {
  id: number
  username: string
}

export interface Reading {
  bot: Bot
  /** Whether there is such a command: in groups it may be another bot's when nobody is named. */
  hasCommand(name: string): boolean
}

/** What Telegram is asked to tell: what is said to the bot, and that it was blocked or removed. */
export const updatesWanted = ['message', 'my_chat_member'] as const

const inputMax = 4096
const senderNameMax = 100
const whole = Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER })

const Chat = Type.Object({ id: whole, type: Type.String() })
const Sender = Type.Object({ id: whole, is_bot: Type.Boolean(), first_name: Type.String(), last_name: Type.Optional(Type.String()) })
const Update = Type.Object({
  update_id: whole,
  message: Type.Optional(
    Type.Object({
      message_id: whole,
      message_thread_id: Type.Optional(whole),
      is_topic_message: Type.Optional(Type.Boolean()),
      chat: Chat,
      migrate_to_chat_id: Type.Optional(whole),
      from: Type.Optional(Sender),
      text: Type.Optional(Type.String({ maxLength: 65_536 })),
    }),
  ),
  my_chat_member: Type.Optional(Type.Object({ chat: Chat, new_chat_member: Type.Object({ status: Type.String() }) })),
})
type Message = NonNullable<Static<typeof Update>['message']>

/** What is said without words. */
const wordless = [
  'animation',
  'audio',
  'contact',
  'dice',
  'document',
  'location',
  'photo',
  'poll',
  'sticker',
  'video',
  'video_note',
  'voice',
]

let validator: ReturnType<typeof validatorOf> | undefined

/** @param update as it came, parsed */
export function told(update: unknown, reading: Reading): Told {
  validator ??= validatorOf(Update)
  if (validator(update) !== undefined) return {}
  const { update_id: id, message, my_chat_member: membership } = update as Static<typeof Update>
  if (membership) {
    const isGone = ['left', 'kicked'].includes(membership.new_chat_member.status)
    return isGone ? { gone: { platform: 'telegram', id: String(id), chatId: String(membership.chat.id) } } : {}
  }
  if (message?.migrate_to_chat_id !== undefined)
    return { moved: { platform: 'telegram', id: String(id), from: String(message.chat.id), to: String(message.migrate_to_chat_id) } }
  const incoming = message && said(id, message, reading)
  return incoming ? { incoming } : {}
}

function said(id: number, message: Message, reading: Reading): Incoming | undefined {
  const { chat, from, text } = message
  if (!from || from.is_bot || !['private', 'group', 'supergroup'].includes(chat.type)) return undefined
  const isPrivate = chat.type === 'private'
  const spoken = text === undefined ? undefined : commandIn(text)
  const isOurs = spoken && isFor(spoken, isPrivate, reading)
  // What people in a group say to each other is no concern of ours, nor what they say to other bots.
  if (spoken ? !isOurs : !isPrivate || (text === undefined && !wordless.some(kind => kind in message))) return undefined
  return {
    platform: 'telegram',
    id: String(id),
    // Numbers of updates begin anew after a quiet week; those of messages rise in each chat.
    order: message.message_id,
    chatId: String(chat.id),
    isPrivate,
    senderId: String(from.id),
    senderName: oneLine([from.first_name, from.last_name ?? ''].join(' ')),
    command: spoken?.name,
    input: cut(plain(spoken ? spoken.rest : (text ?? '')), inputMax),
    replyTo: replyToOf(message, isPrivate),
  }
}

interface Spoken {
  name: string
  /** Whom it names, in small letters. */
  bot: string | undefined
  rest: string
}

const commandPattern = /^\/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{1,64}))?(?:\s|$)/

function commandIn(text: string): Spoken | undefined {
  const found = commandPattern.exec(text)
  if (!found) return undefined
  return { name: (found[1] as string).toLowerCase(), bot: found[2]?.toLowerCase(), rest: text.slice(found[0].length).trim() }
}

function isFor({ name, bot: named }: Spoken, isPrivate: boolean, { bot, hasCommand }: Reading): boolean {
  if (named !== undefined) return named === bot.username.toLowerCase()
  return isPrivate || hasCommand(name)
}

/** What an answer in a group refers to, and its topic. */
interface ReplyTo {
  message: number
  topic?: number
}

const replyToOf = ({ message_id: message, message_thread_id: topic, is_topic_message: isOfTopic }: Message, isPrivate: boolean): string =>
  isPrivate ? '' : JSON.stringify({ message, ...(isOfTopic && topic !== undefined && { topic }) } satisfies ReplyTo)

/** What `sendMessage` needs besides the chat and the text, to answer what has come in. */
export function answering(replyTo: string): object {
  if (replyTo === '') return {}
  const { message, topic } = JSON.parse(replyTo) as ReplyTo
  return {
    reply_parameters: { message_id: message, allow_sending_without_reply: true },
    ...(topic !== undefined && { message_thread_id: topic }),
  }
}

/** Without characters that are never seen, but for ends of lines; of several that look the same the composed one. */
const plain = (text: string): string =>
  text
    .toWellFormed()
    .normalize('NFC')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
    .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, one => (one === '\t' ? ' ' : ''))

const oneLine = (text: string): string => cut(plain(text).replaceAll(/\s+/g, ' ').trim(), senderNameMax)

/** @param max UTF-16 units; no character is cut in two */
const cut = (text: string, max: number): string => {
  if (text.length <= max) return text
  const end = text.codePointAt(max - 1) as number
  return text.slice(0, end > 0xffff ? max - 1 : max)
}
