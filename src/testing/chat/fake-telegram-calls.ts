/** What the Telegram of tests is called with, what it answers, and what it tells. */
export interface TelegramCall {
  method: string
  payload: Record<string, unknown>
  atMs: number
  /** When it was answered; undefined while it is open. */
  endedAtMs?: number
  /** What it was answered; 0 when the connection was dropped. */
  status?: number
  /** What it met with, when that was said. */
  outcome?: Outcome
}

export interface Update extends Record<string, unknown> {
  update_id: number
}

export interface Speaker {
  /** A private chat when it is the speaker's id, which it is by default; groups have negative ids. */
  chat?: number
  from?: number
  name?: string
  isBot?: boolean
  topic?: number
}

export interface Hook {
  url: string
  secret: string
  allowed: string[]
}

export type Outcome =
  | { is: 'refusal'; status: number; description: string; parameters?: object }
  /** Answered as usual, and late. */
  | { is: 'slow'; ms: number }
  | { is: 'drop' }
  /** Any bytes instead of an answer. */
  | { is: 'garbage'; status: number; body: string }

export interface Script {
  /** 429 with `retryAfterSeconds`, 5xx, or whatever. */
  answer(status: number, more?: { retryAfterSeconds?: number; description?: string; parameters?: object }): void
  slow(ms: number): void
  drop(): void
  garbage(body: string, status?: number): void
}

/** The most calls that began within any window of so many milliseconds. */
export function mostWithin(windowMs: number, calls: readonly Pick<TelegramCall, 'atMs'>[]): number {
  const times = calls.map(({ atMs }) => atMs).toSorted((a, b) => a - b)
  let most = 0
  for (let first = 0, last = 0; last < times.length; last++) {
    while ((times[last] as number) - (times[first] as number) >= windowMs) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

export const refusal = (status: number, description: string): Outcome & { is: 'refusal' } => ({ is: 'refusal', status, description })
export const refused = (status: number, description: string, parameters?: object) =>
  JSON.stringify({ ok: false, error_code: status, description, ...(parameters && { parameters }) })

export function messageOf(
  text: string,
  { from = 1000, chat = from, name = 'Ada', isBot = false, topic }: Speaker,
  nextMessageId: (chat: number) => number,
) {
  const type = chat > 0 ? 'private' : 'supergroup'
  const command = /^\/[\w@]+/.exec(text)?.[0]
  return {
    message_id: nextMessageId(chat),
    date: Math.floor(Date.now() / 1000),
    chat: { id: chat, type, ...(type === 'private' ? { first_name: name } : { title: 'A group' }) },
    from: { id: from, is_bot: isBot, first_name: name, language_code: 'en' },
    text,
    ...(command && { entities: [{ type: 'bot_command', offset: 0, length: command.length }] }),
    ...(topic !== undefined && { message_thread_id: topic, is_topic_message: true }),
  }
}

export const membershipOf = (chat: number, status: string) => ({
  my_chat_member: {
    chat: { id: chat, type: chat > 0 ? 'private' : 'supergroup' },
    from: { id: Math.abs(chat), is_bot: false, first_name: 'Ada' },
    date: Math.floor(Date.now() / 1000),
    old_chat_member: { status: 'member' },
    new_chat_member: { status },
  },
})
