import type { ChatMoved, ChatReceiver, Incoming } from '@/core/chat'

/** Takes what platforms hand over and keeps it in memory, for tests of a platform alone. */
export interface FakeReceiver extends ChatReceiver {
  received: Incoming[]
  gone: { platform: string; chatId: string }[]
  moves: ChatMoved[]
  /** What is answered: at once, or after a while. */
  answer: (incoming: Incoming) => Promise<string>
  /** Where answers go that nobody waits for any more. */
  later: (incoming: Incoming, text: string) => Promise<void>
  /** Throws instead of keeping anything. */
  fails: Error | undefined
}

export function fakeReceiver(): FakeReceiver {
  const answers = new Map<string, Promise<string>>()
  const self: FakeReceiver = {
    received: [],
    gone: [],
    moves: [],
    answer: async incoming => `answer of ${incoming.command}`,
    later: async () => {},
    fails: undefined,
    async receive(incoming) {
      if (self.fails) throw self.fails
      for (const each of incoming) {
        if (answers.has(each.id)) continue
        self.received.push(each)
        answers.set(each.id, self.answer(each))
      }
    },
    left: async chats => void self.gone.push(...chats),
    moved: async chats => void self.moves.push(...chats),
    async answerOf({ id }, timeoutMs) {
      const text = await Promise.race([answers.get(id), Bun.sleep(timeoutMs).then(() => undefined)])
      const incoming = self.received.find(each => each.id === id)
      if (text === undefined && incoming) void answers.get(id)?.then(late => self.later(incoming, late))
      return text
    },
  }
  return self
}
