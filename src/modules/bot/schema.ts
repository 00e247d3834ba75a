import { platformNames } from '@/core/chat'
import { defineLimit } from '@/core/queue/limit'
import { defineTask } from '@/core/queue/task'
import { Input, OneOf, Type } from '@/core/schema'

/** So much of one sender, on one platform, in a minute; who says more is told so once. */
export const perSenderMax = 20
export const perSenderMs = 60_000
/** So much of one chat may wait; more is dropped. */
export const waitingPerChatMax = 50
/** What waits for longer is not done any more: whoever has said it has long done something else. */
export const lateMs = 600_000
/** A command that fails is tried so often; a process that dies in the middle counts. */
export const attemptsMax = 3
/** How long a command may take. */
export const commandTimeoutMs = 20_000
/** For so long an answer is tried to be sent, and how long one try may take. */
export const sendMaxMs = 3_600_000
export const sendTimeoutMs = 30_000
/** Whoever has handed something over, and waits for the answer, has gone after so long. */
export const awaitedMaxMs = 5000
/** Said later, so that the platform has been told by then that the answer comes later. */
export const answerLaterMs = 1000
/** What is answered is cut there; platforms take less of one message, and cut it again. */
export const answerMax = 8000

/** What of a chat is worked at one after another. */
const perChat = defineLimit('bot.chat', { concurrency: 1 })

const word = Type.String({ pattern: '^[\\w.:-]{1,64}$' })
/** Does what came in, and all that came before it in its chat. */
export const workUpdate = defineTask(
  'bot.workUpdate',
  Input({ platform: OneOf(platformNames, { description: 'Where it came from.' }), id: word, chatId: word }),
  {
    ...{ queue: 'bot', limit: perChat, byHand: 'never', timeoutMs: 300_000, backoff: { minMs: 500, maxMs: 60_000, factor: 2 } },
    // It fails only while the database is away; given up, it would leave what came in waiting until somebody says more in the chat.
    maxRetries: 1000,
  },
)
