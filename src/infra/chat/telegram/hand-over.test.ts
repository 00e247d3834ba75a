import { expect, test } from 'bun:test'
import { fakeReceiver } from '@/testing/chat/fake-receiver'
import { handOver } from './hand-over'

const reading = { bot: { id: 1, username: 'bot' }, hasCommand: () => true }
const from = { id: 17, is_bot: false, first_name: 'Ada' }
const message = (id: number, chat: number, more: object) => ({
  update_id: id,
  message: { message_id: id, chat: { id: chat, type: 'supergroup' }, from, ...more },
})

test('a group that has another id is told of before it is left, and before what is said in it then', async () => {
  const kept = fakeReceiver()
  const order: string[] = []
  const receiver = {
    ...kept,
    receive: async (incoming: readonly { chatId: string }[]) => void order.push(...incoming.map(({ chatId }) => `said in ${chatId}`)),
    left: async (gone: readonly { chatId: string }[]) => void order.push(...gone.map(({ chatId }) => `left ${chatId}`)),
    moved: async (moved: readonly { from: string; to: string }[]) => void order.push(...moved.map(each => `${each.from} is ${each.to}`)),
  }
  const updates = [
    message(1, -5, { text: '/ping' }),
    { update_id: 2, my_chat_member: { chat: { id: -5, type: 'group' }, new_chat_member: { status: 'left' } } },
    message(3, -5, { migrate_to_chat_id: -1005 }),
    message(4, -1005, { text: '/ping' }),
  ]
  await handOver(updates, reading, receiver)
  expect(order).toEqual(['said in -5', '-5 is -1005', 'left -5', 'said in -1005'])
  // What is no id of a chat is nothing.
  await handOver([message(5, -5, { migrate_to_chat_id: 'x' })], reading, receiver)
  expect(order).toHaveLength(4)
})
