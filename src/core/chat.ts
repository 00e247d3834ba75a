import { defineErrors } from './error'
import type { Service } from './service'

/** Chat platforms, as the bot knows them: each is optional, and none knows of another. */

export const platformNames = ['telegram', 'discord'] as const
export type PlatformName = (typeof platformNames)[number]

/** Something that somebody has sent to the bot, as its platform tells it. */
export interface Incoming {
  readonly platform: PlatformName
  /** Unique among what this platform sends; a platform that sends it again says the same. 1–64 characters. */
  readonly id: string
  /** What came later in a chat has a larger one. */
  readonly order: number
  /** 1–64 characters. */
  readonly chatId: string
  readonly isPrivate: boolean
  /** 1–64 characters. */
  readonly senderId: string
  /** As the platform shows the sender; at most 100 characters. Said by a stranger, like all of it. */
  readonly senderName: string
  /** The command without its slash, in small letters; undefined for anything else that was said to the bot. */
  readonly command: string | undefined
  /** What is typed behind the command, at most 4,096 characters; or the options by their names, where the platform asks for each. */
  readonly input: string | Readonly<Record<string, string | number | boolean>>
  /** What the platform needs to know to be answered, and nobody else is to know. At most 1,024 characters. */
  readonly replyTo: string
  /** Until when it can be answered, milliseconds since 1970; undefined for ever. */
  readonly answerUntilMs?: number | undefined
  /** Whoever hands it over asks `answerOf` at once: until that gives it up, nobody sends the answer. */
  readonly isAwaited?: true | undefined
}

/** What the platform tells of a chat itself. */
export interface ChatGone {
  readonly platform: PlatformName
  /** What the platform calls this news, which it may tell again, long after the chat has come back. Absent where it was learned otherwise. */
  readonly id?: string
  readonly chatId: string
}

/** A chat that its platform calls otherwise from now on, such as a group of Telegram that becomes a supergroup. */
export interface ChatMoved {
  readonly platform: PlatformName
  /** As that of `ChatGone`. */
  readonly id?: string
  readonly from: string
  readonly to: string
}

/** Where what comes in goes. */
export interface ChatReceiver {
  /**
   * Resolves when all of it is stored: only then is it acknowledged. What was stored before is dropped, and so is what is no command and was
   * not said to the bot alone, and what is too much of one sender or in one chat.
   * @throws Unavailable
   */
  receive(incoming: readonly Incoming[]): Promise<void>
  /** Somebody has blocked the bot, or removed it from a group. What has an id acts once, and so does that of `moved`. */
  left(chats: readonly ChatGone[]): Promise<void>
  /** Told before `left` of the same chat: what the chat wanted it goes on to get. */
  moved(chats: readonly ChatMoved[]): Promise<void>
  /**
   * Waits until what was received with `isAwaited` is answered, for platforms that take an answer at once.
   * @returns what to answer, which is then taken by whoever asks, and sent by nobody else; undefined when it takes longer than
   * `timeoutMs`, or was answered before: then it is sent with `answer` when it is there, and a second from now at the earliest
   */
  answerOf(incoming: Pick<Incoming, 'platform' | 'id'>, timeoutMs: number): Promise<string | undefined>
}

/** Where a platform stands: `off` is not configured, `failed` is configured wrongly or refused by the platform. */
export interface PlatformState {
  readonly is: 'off' | 'starting' | 'ready' | 'failed'
  /** What is missing or wrong, with the remedy, and no secret. */
  readonly why?: string
}

export interface SendOptions {
  signal: AbortSignal
  /** Of this message in this chat, 1–128 characters. */
  key?: string
  /** Asked when its turn has come, right before the platform is: a message waits for that for some seconds. */
  isStillWanted?: () => Promise<boolean>
}

export interface ChatPlatform {
  readonly name: PlatformName
  state(): PlatformState
  /**
   * Sends a message to a chat, when the platform's limits allow it.
   * @param options `key` is the same each time the same message is tried: a platform that can then shows it once, as Discord does
   * within some minutes
   * @returns the id that the platform gives it
   * @throws what `chatErrors` says
   */
  send(chatId: string, text: string, options: SendOptions): Promise<string>
  /** Answers what has come in. Throws like `send`. */
  answer(incoming: Pick<Incoming, 'chatId' | 'replyTo'>, text: string, options: { signal: AbortSignal }): Promise<void>
  /** What is sent to its path on the bot server. The body is as it came, at most `webhookMaxBytes`. */
  webhook(request: Request, body: Uint8Array, receiver: ChatReceiver): Promise<Response>
  /** Tells the platform the commands, and asks it for what comes in where it does not send it. It starts at once, whatever the platform does. */
  service(receiver: ChatReceiver): Service
}

/** All there are, also those that are off, in the order of `platformNames`. */
export interface ChatPlatforms {
  readonly all: readonly ChatPlatform[]
  get(name: PlatformName): ChatPlatform
}

export const webhookMaxBytes = 256 * 1024

export const chatErrors = defineErrors({
  /** With `retryAfterSeconds`, which may be a fraction. */
  PlatformBusy: ['ResourceExhausted', 'The platform wants no more messages for now.'],
  /** Where a platform cannot show a message once, this says that it was certainly not sent. */
  PlatformUnavailable: ['Unavailable', 'The platform cannot be reached, or does not answer as it should.'],
  /** It was asked, and has not said whether it has done it: who sends it again may have it arrive twice. */
  PerhapsSent: ['Unavailable', 'The platform has not said whether it took the message: it may have arrived, or not.'],
  /** There is no use in sending to it again. */
  ChatGone: ['NotFound', 'The chat is not there any more, or has blocked the bot.'],
  /** There is no use in sending this again. */
  MessageRefused: ['InvalidArgument', 'The platform does not take this message.'],
  /** `isStillWanted` said no, and the platform was not asked. */
  NotWanted: ['Aborted', 'The message was not wanted any more when its turn came.'],
  PlatformOff: [
    'FailedPrecondition',
    'The platform is not configured here, or does not take its token; the log says which setting to change.',
  ],
  AnswerLate: ['Timeout', 'It is too late to answer this.'],
})

/** Their codes, by which whoever sends tells what became of it. */
export const chatCodes = {
  busy: chatErrors.PlatformBusy().code,
  gone: chatErrors.ChatGone().code,
  refused: chatErrors.MessageRefused().code,
  notWanted: chatErrors.NotWanted().code,
  perhapsSent: chatErrors.PerhapsSent().code,
  off: chatErrors.PlatformOff().code,
  late: chatErrors.AnswerLate().code,
} as const
