import { chatErrors, type SendOptions } from '@/core/chat'
import { createRecent } from '../../limit/recent'
import type { Gates } from '../gates'
import type { Turns } from '../turns'
import { type TelegramApi, TelegramRefusal, TelegramSilence } from './api'
import { messageOf } from './text'

/** Sends within Telegram's limits, and says in the words of the house what became of it. */
export interface Sending {
  /**
   * @param more what `sendMessage` needs besides
   * @param isUrgent whether somebody waits for it
   * @returns the id of the message
   * @throws what `chatErrors` says, or what `signal` was aborted with
   */
  deliver(chatId: string, text: string, options: Delivering): Promise<string>
}

interface Delivering {
  signal: AbortSignal
  isStillWanted?: SendOptions['isStillWanted'] | undefined
  more?: object
  isUrgent: boolean
}

interface SendingTools {
  api: TelegramApi
  turns: Turns
  gates: Gates
  /** Told when Telegram does not take the token any more. */
  onRefused(): void
}

/** A call waits no longer than this for its turn; whoever asks for more is told when to come again. */
const waitMaxMs = 20_000
/** In one chat, as Telegram's "My bot is hitting limits" says; groups take fewer. */
const chatPerSecond = 1
const groupPerMinute = 20
const movesMax = 10_000

const isGroup = (chatId: string) => chatId.startsWith('-')
const limitsOf = (chatId: string) => ({ perSecond: chatPerSecond, ...(isGroup(chatId) && { perMinute: groupPerMinute }) })

export function createSending({ api, turns, gates, onRefused }: SendingTools): Sending {
  /** Where groups are that were upgraded. */
  const moves = createRecent<string>(movesMax)
  /** The chat that was the last to be refused. */
  let refused = { chatId: '', untilMs: 0 }

  /** What is refused to one chat may be too much for that chat alone; when it is refused to others too, it is the bot that calls too often. */
  function heed(chatId: string, forMs: number): void {
    const now = performance.now()
    const isOfChat = now >= refused.untilMs || refused.chatId === chatId
    if (isOfChat) refused = { chatId, untilMs: now + forMs }
    gates.close(isOfChat ? chatId : undefined, forMs)
  }

  /** The gate is closed before anybody else has a turn. */
  async function call(chatId: string, payload: object, signal: AbortSignal): Promise<string> {
    try {
      const { message_id: id } = await api.call('sendMessage', { chat_id: chatId, ...payload }, signal)
      return String(id)
    } catch (thrown) {
      if (thrown instanceof TelegramRefusal && thrown.retryAfterSeconds !== undefined) heed(chatId, thrown.retryAfterSeconds * 1000)
      throw thrown
    }
  }

  async function deliverMessage(asked: string, payload: object, { isUrgent, signal, isStillWanted }: Delivering): Promise<string> {
    const untilMs = performance.now() + waitMaxMs
    for (let sent = payload; ; ) {
      const chatId = moves.get(asked) ?? asked
      try {
        return await turns.take({ chatId, limits: limitsOf(chatId), isUrgent, untilMs, signal, isStillWanted }, () =>
          call(chatId, sent, signal),
        )
      } catch (thrown) {
        if (!(thrown instanceof TelegramRefusal)) throw isOurs(thrown, signal) ? thrown : unansweredOf(thrown)
        if (thrown.retryAfterSeconds !== undefined) continue
        if (thrown.movedTo !== undefined && thrown.movedTo !== chatId) {
          moves.set(asked, thrown.movedTo)
          continue
        }
        const { message_thread_id: topic, ...rest } = sent as { message_thread_id?: number }
        if (topic === undefined || !topicGone.test(thrown.description)) throw meaningOf(thrown)
        sent = rest
      }
    }
  }

  function meaningOf(refusal: TelegramRefusal): Error {
    const { code, description } = refusal
    if (code === 401 || code === 404) {
      onRefused()
      return chatErrors.PlatformOff({ cause: refusal })
    }
    if (code >= 500) return chatErrors.PlatformUnavailable({ cause: refusal })
    if (code === 403 || chatGone.test(description)) return chatErrors.ChatGone({ cause: refusal })
    return chatErrors.MessageRefused({ cause: refusal })
  }

  return {
    async deliver(chatId, text, options) {
      const message = messageOf(text)
      if (message === undefined) throw chatErrors.MessageRefused({ cause: new Error('there is nothing to send') })
      return deliverMessage(chatId, { text: message, ...options.more }, options)
    },
  }
}

/** Telegram shows as often what it is sent as it is sent. */
const unansweredOf = (cause: unknown): Error =>
  cause instanceof TelegramSilence && cause.isUnasked ? chatErrors.PlatformUnavailable({ cause }) : chatErrors.PerhapsSent({ cause })

/** Descriptions are all that tells these apart: the code is 400 for all. */
const chatGone = /chat not found|user is deactivated|chat was deactivated|PEER_ID_INVALID|bot is not a member/i
const topicGone = /message thread not found|TOPIC_DELETED|TOPIC_CLOSED/i

/** What was said already in the words of the house, or was not said by Telegram. */
const isOurs = (thrown: unknown, signal: AbortSignal) => signal.aborted || (thrown instanceof Error && thrown.name === 'AppError')
