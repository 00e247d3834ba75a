import { platformNames } from '@/core/chat'
import { dayMs } from '@/core/clock'
import { defineErrors } from '@/core/error'
import { OneOf, secret, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const chatUpdateErrors = defineErrors({
  UpdateTaken: ['Aborted', 'This was received by another process at the same time. Send it again.'],
})

/** For so long it is known what has come in, so that what is sent again does nothing: longer than any platform sends again. */
export const keptMs = 2 * dayMs

const UpdateState = OneOf(['received', 'answered', 'sent', 'dropped'], {
  description:
    'received: what it asks for is still to be done. answered: that is done, and the answer is still to be sent. The others are ends.',
})

/**
 * What has come in from chat platforms. Whoever changes a row says the version that it has seen, so that of two at the same one only one goes on.
 * What was said is gone once it is answered; the rest stays for a while, so that what is sent again is known.
 */
export const chatUpdates = defineTable(
  'chatUpdate',
  {
    platform: OneOf(platformNames, { description: 'Where it came from.' }),
    updateId: Type.String({ maxLength: 64, description: 'What the platform calls it.' }),
    chatId: Type.String({ maxLength: 64, description: 'Where it was said.' }),
    senderId: Type.String({ maxLength: 64, description: 'Who has said it.' }),
    position: Type.Integer({ description: 'What came later in a chat has a larger one.' }),
    state: UpdateState,
    isOpen: Type.Boolean({ description: 'Whether something is still to be done.' }),
    said: secret(Type.Optional(Type.String({ description: 'What was said and how to answer it, encrypted; absent at the end.' }))),
    answer: secret(Type.Optional(Type.String({ description: 'Encrypted; absent at the end.' }))),
    attempts: Type.Integer({ minimum: 0, description: 'How often it was begun to do it.' }),
    sends: Type.Integer({ minimum: 0, description: 'How often it was begun to send the answer.' }),
    dueAtMs: Type.Integer({ minimum: 0, description: 'Before that it is not tried again; milliseconds since 1970.' }),
    awaitedUntilMs: Type.Integer({ minimum: 0, description: 'Until then the answer is for who has handed it over; 0 when it is not.' }),
    receivedAtMs: Type.Integer({ minimum: 0, description: 'When it came in.' }),
  },
  {
    unique: [{ columns: ['platform', 'updateId'], taken: chatUpdateErrors.UpdateTaken }],
    indexes: [['platform', 'chatId', 'isOpen', 'position'], ['platform', 'senderId', 'receivedAtMs'], ['receivedAtMs']],
  },
)
export type ChatUpdateTable = typeof chatUpdates
export type ChatUpdateRow = RowOf<ChatUpdateTable>
