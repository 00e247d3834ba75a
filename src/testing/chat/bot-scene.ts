import { everyone } from '@/core/access'
import type { ChatGone, ChatPlatform, Incoming } from '@/core/chat'
import { type AnyCommand, defineCommand } from '@/core/command'
import { anonymous, type Identity } from '@/core/identity'
import { Input, Type } from '@/core/schema'
import type { OpenDatabase } from '@/infra/database/driver'
import { botBiz } from '@/modules/bot/biz'
import { workUpdate } from '@/modules/bot/schema'
import { botTasks } from '@/modules/bot/tasks'
import { refusalIn } from '@/modules/chat-link'
import { chatUpdateBiz } from '@/modules/chat-update/biz'
import { chatUpdateStore } from '@/modules/chat-update/store'
import { fakeAudit, fakeMetrics, testCipher } from '../fakes'
import { type TestQueue, testQueue } from '../queue'

/** What was sent to a chat, in the order in which it came there. */
export interface Sent {
  chatId: string
  replyTo: string
  text: string
}

/** The bot on a real database and queue, with a platform that keeps what it is sent. */
export interface BotScene extends AsyncDisposable {
  biz: ReturnType<typeof botBiz>
  queue: TestQueue
  sent: Sent[]
  gone: ChatGone[]
  /** Runs before the platform takes a message; what it throws, the platform answers. */
  platform: { answering(sent: Sent): Promise<void> | void }
  /** By the sender's id; nobody else is known. */
  accounts: Map<string, Identity>
  audit: ReturnType<typeof fakeAudit>
  /** Stores it, and does all there is to be done by now. @returns what was sent since */
  say(...incoming: Incoming[]): Promise<string[]>
  /** Whose rows are there by now. */
  states(): Promise<string[]>
}

let count = 0
/** Something that was just said in a private chat. */
export function said(command: string | undefined, input: Incoming['input'] = '', more: Partial<Incoming> = {}): Incoming {
  count++
  return {
    ...{ platform: 'telegram', id: String(count), order: count, chatId: 'chat1', senderId: 'sender1', senderName: 'Ada' },
    ...{ isPrivate: true, command, input, replyTo: `reply to ${count}` },
    ...more,
  }
}

export const echo = defineCommand({
  name: 'echo',
  summary: 'Say it again',
  args: Input({ text: Type.Optional(Type.String({ maxLength: 4096 })) }),
  access: [everyone()],
  run: async ({ text = 'nothing' }) => text,
})

export async function botScene(commands: readonly AnyCommand[] = [echo], { db }: { db?: OpenDatabase } = {}): Promise<BotScene> {
  const sent: Sent[] = []
  const gone: ChatGone[] = []
  const platform: BotScene['platform'] = { answering: () => {} }
  const accounts: BotScene['accounts'] = new Map()
  const audit = fakeAudit()
  const queue = await testQueue({ tasks: [workUpdate], ...(db && { db }) })
  const off = async () => Promise.reject(new Error('nobody asks for this'))
  const telegram: ChatPlatform = {
    ...{ name: 'telegram', state: () => ({ is: 'ready' }), send: off, webhook: off },
    async answer({ chatId, replyTo }, text) {
      await platform.answering({ chatId, replyTo, text })
      sent.push({ chatId, replyTo, text })
    },
    service: () => ({ name: 'telegram', start: async () => {}, stop: async () => {} }),
  }
  const tools = { db: queue.db, clock: queue.clock, log: queue.log, metrics: fakeMetrics(), queue: queue.queue, audit, refusalIn }
  const biz = botBiz({
    ...tools,
    updates: chatUpdateBiz({ ...tools, cipher: testCipher, updates: chatUpdateStore }),
    chat: { all: [telegram], get: () => telegram },
    commands: { all: () => commands },
    processes: { own: { id: '1', roles: ['bot'], version: '1.2.3', host: 'here', pid: 1 }, roleNames: [], list: async () => [] },
    identify: async (_, senderId) => accounts.get(senderId) ?? anonymous,
    left: async chats => void gone.push(...chats),
    moved: async () => {},
  })
  queue.handle(botTasks(biz))
  return {
    ...{ biz, queue, sent, gone, platform, accounts, audit },
    async say(...incoming) {
      const before = sent.length
      await biz.receiver.receive(incoming)
      await queue.drain()
      return sent.slice(before).map(({ text }) => text)
    },
    states: async () => (await queue.db.all('select "state" from "chatUpdate" order by "position"')).map(row => String(row['state'])),
    [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose](),
  }
}
