import type { ChatGone, ChatReceiver, Incoming } from '@/core/chat'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import type { Database } from '@/core/database'
import type { ChatTools } from '@/infra/chat/open'
import { type FakeLog, fakeLog, fakeMetrics, testCipher } from '../fakes'

/** What platforms need, for tests of them: no command and no Redis unless given, and a log that is kept. @param env such as `BINGO_TELEGRAM_TOKEN` */
export function chatTools(
  db: Database,
  env: Readonly<Record<string, string>>,
  more: Partial<Omit<ChatTools, 'log'>> = {},
): ChatTools & { log: FakeLog } {
  const { config } = loadConfig({ env, flags: {}, readFile: () => '' })
  const commands = { all: () => [] }
  const tools = { config, db, clock: systemClock, metrics: fakeMetrics(), redis: undefined, commands, cipher: testCipher }
  return { ...tools, ...more, log: fakeLog() }
}

/** Keeps what it is given, each once, as an inbox does. */
export interface KeptChats extends ChatReceiver {
  received: Incoming[]
  /** Also what it had already. */
  given: Incoming[]
  gone: ChatGone[]
  /** Thrown by the next calls, one each. */
  failures: unknown[]
}

export function keptChats(): KeptChats {
  const [received, given, gone, failures]: [Incoming[], Incoming[], ChatGone[], unknown[]] = [[], [], [], []]
  const fail = () => {
    if (failures.length > 0) throw failures.shift()
  }
  return {
    received,
    given,
    gone,
    failures,
    async receive(incoming) {
      fail()
      given.push(...incoming)
      for (const each of incoming) if (!received.some(({ id }) => id === each.id)) received.push(each)
    },
    async left(chats) {
      fail()
      gone.push(...chats)
    },
    async moved() {
      fail()
    },
    answerOf: async () => undefined,
  }
}
