import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  membershipOf,
  messageOf,
  refusal,
  refused,
  type Hook,
  type Outcome,
  type Script,
  type Speaker,
  type TelegramCall,
  type Update,
} from './fake-telegram-calls'

export { mostWithin, type Hook, type Outcome, type Script, type Speaker, type TelegramCall, type Update } from './fake-telegram-calls'

/**
 * A Bot API on loopback for tests of bots: it delivers what people say by long polling or to the webhook, takes what the bot sends, and
 * goes wrong as it is told to. What it was called with it keeps, with times of `performance.now()`.
 */
export interface FakeTelegram {
  /** For `BINGO_TELEGRAM_API_ROOT`. */
  url: string
  /** For `BINGO_TELEGRAM_TOKEN`; any other is refused. */
  token: string
  bot: { id: number; username: string }
  /** All there were, in the order in which they came. */
  calls: readonly TelegramCall[]
  of(method: string): TelegramCall[]
  /** What was sent to a chat and taken, in order. */
  sentTo(chatId: number | string): string[]
  /** What the next calls meet with instead; of a method, `sendMessage` when absent. What is said first is met first. */
  next(count: number, method?: string): Script
  /** Asked of each call that no `next` is for: what it meets with, or undefined for what is usual. */
  meet(decide: (call: TelegramCall) => Outcome | undefined): void
  /** Somebody says something to the bot. @returns the update, so that it can be told again */
  say(text: string, by?: Speaker): Update
  /** Any other update, such as `{ my_chat_member: … }`. */
  tell(update: object): Update
  /** Tells the same once more. */
  again(update: Update): void
  /** Keeps what is said from now on, until `release`, which tells it in another order when it is given one. */
  hold(): void
  release(order?: (held: Update[]) => Update[]): void
  /** The chat refuses the bot from now on, and the bot is told; or no more. */
  block(chatId: number): Update
  unblock(chatId: number): void
  /** What the bot has asked for, when it has set one. */
  webhook(): Hook | undefined
  /** What was sent to the webhook, and what it answered; 0 for no answer. */
  pushes: readonly { update: Update; status: number; atMs: number }[]
  /** Resolves when `check` says so, which is asked when a call comes, when it is answered, and after each push. @throws Error after `timeoutMs` */
  until(check: () => boolean, timeoutMs?: number): Promise<void>
  close(): Promise<void>
}

const descriptions: Record<number, string> = {
  400: 'Bad Request: chat not found',
  401: 'Unauthorized',
  403: 'Forbidden: bot was blocked by the user',
  429: 'Too Many Requests: retry after',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
}

export async function startTelegram({ port = 0, username = 'bingo_test_bot', botId = 777_000_001 } = {}): Promise<FakeTelegram> {
  const bot = { id: botId, username }
  const token = `${bot.id}:${crypto.randomUUID().replaceAll('-', '')}`
  const calls: TelegramCall[] = []
  const sent = new Map<string, string[]>()
  const scripts: { method: string; left: number; outcome: Outcome }[] = []
  const pushes: { update: Update; status: number; atMs: number }[] = []
  const blocked = new Set<string>()
  const watchers = new Set<() => void>()
  let meet: (call: TelegramCall) => Outcome | undefined = () => undefined
  /** What was not acknowledged. */
  let pending: Update[] = []
  let held: Update[] | undefined
  let hook: Hook | undefined
  let poll: { wake(): void; cut(by?: string): void } | undefined
  // Of another bot they are others: what an inbox has had it drops.
  let updateId = Math.floor(Math.random() * 900_000_000)
  const messageIds = new Map<number, number>()
  let isClosed = false

  const looked = () => {
    for (const watcher of [...watchers]) watcher()
  }

  function deliver(update: Update): void {
    if (held) return void held.push(update)
    if (hook) return void push(update, hook)
    pending.push(update)
    poll?.wake()
  }

  /** As the real one it comes again until it is taken. */
  async function push(update: Update, { url, secret }: Hook, tries = 0): Promise<void> {
    const headers = { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': secret }
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(update) }).catch(() => undefined)
    await response?.arrayBuffer().catch(() => undefined)
    pushes.push({ update, status: response?.status ?? 0, atMs: performance.now() })
    looked()
    if (response?.ok || isClosed) return
    await Bun.sleep(Math.min(2000, 50 * 2 ** tries))
    if (!isClosed && hook) await push(update, hook, tries + 1)
  }

  /** One at a time: a second question cuts off the first. */
  async function updates(
    { offset, limit = 100, timeout = 0 }: Record<string, unknown>,
    isGone: Promise<void>,
  ): Promise<Outcome | Update[]> {
    if (hook)
      return refusal(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first")
    poll?.cut()
    if (typeof offset === 'number') pending = pending.filter(({ update_id: id }) => id >= offset)
    if (pending.length === 0 && Number(timeout) > 0) {
      const woken = Promise.withResolvers<string>()
      const own = { wake: () => woken.resolve(''), cut: (by = 'other getUpdates') => woken.resolve(by) }
      poll = own
      const timer = setTimeout(own.wake, Number(timeout) * 1000)
      const cutBy = await Promise.race([woken.promise, isGone.then(() => '')])
      clearTimeout(timer)
      if (poll === own) poll = undefined
      if (cutBy) return refusal(409, `Conflict: terminated by ${cutBy} request; make sure that only one bot instance is running`)
    }
    return pending.slice(0, Number(limit))
  }

  async function result({ method, payload }: TelegramCall, isGone: Promise<void>): Promise<Outcome | { result: unknown }> {
    switch (method) {
      case 'getMe':
        return { result: { id: bot.id, is_bot: true, first_name: 'Bingo', username } }
      case 'getUpdates': {
        const found = await updates(payload, isGone)
        return Array.isArray(found) ? { result: found } : found
      }
      case 'getWebhookInfo':
        return { result: { url: hook?.url ?? '', has_custom_certificate: false, pending_update_count: pending.length } }
      case 'setWebhook': {
        hook = {
          url: String(payload['url']),
          secret: String(payload['secret_token'] ?? ''),
          allowed: (payload['allowed_updates'] ?? []) as string[],
        }
        poll?.cut('setWebhook')
        for (const update of pending.splice(0)) void push(update, hook)
        return { result: true }
      }
      case 'deleteWebhook':
        hook = undefined
        return { result: true }
      case 'setMyCommands':
        return { result: true }
      case 'sendMessage':
        return sendMessage(payload)
      default:
        return refusal(404, 'Not Found: method not found')
    }
  }

  function sendMessage({ chat_id: chatId, text }: Record<string, unknown>): Outcome | { result: unknown } {
    const key = String(chatId)
    if (blocked.has(key)) return refusal(403, 'Forbidden: bot was blocked by the user')
    if (typeof text !== 'string' || text.trim() === '') return refusal(400, 'Bad Request: message text is empty')
    if (text.length > 4096) return refusal(400, 'Bad Request: message is too long')
    const texts = sent.get(key) ?? []
    sent.set(key, texts)
    texts.push(text)
    return { result: { message_id: nextMessageId(Number(chatId)), date: now(), chat: { id: Number(chatId) }, text } }
  }

  const now = () => Math.floor(Date.now() / 1000)
  function nextMessageId(chat: number): number {
    const id = (messageIds.get(chat) ?? 0) + 1
    messageIds.set(chat, id)
    return id
  }

  function scripted(call: TelegramCall): Outcome | undefined {
    const script = scripts.find(({ method, left }) => method === call.method && left > 0)
    if (!script) return meet(call)
    script.left--
    return script.outcome
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, given = '', method = ''] = /^\/bot([^/]*)\/(\w+)$/.exec(request.url ?? '') ?? []
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const payload = (chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString() || '{}') : {}) as Record<string, unknown>
    const call: TelegramCall = { method, payload, atMs: performance.now() }
    calls.push(call)
    looked()
    const isGone = new Promise<void>(resolve => response.on('close', resolve))
    const end = (status: number, body: string) => {
      call.status = status
      call.endedAtMs = performance.now()
      response.writeHead(status, { 'content-type': 'application/json' }).end(body)
      looked()
    }
    if (given !== token) return end(401, refused(401, 'Unauthorized'))
    const outcome = scripted(call)
    if (outcome) call.outcome = outcome
    if (outcome?.is === 'slow') await Bun.sleep(outcome.ms)
    if (outcome?.is === 'garbage') return end(outcome.status, outcome.body)
    if (outcome?.is === 'drop') {
      call.status = 0
      call.endedAtMs = performance.now()
      request.socket.destroy()
      return looked()
    }
    const found = outcome?.is === 'refusal' ? outcome : await result(call, isGone)
    if ('result' in found) return end(200, JSON.stringify({ ok: true, result: found.result }))
    if (found.is === 'refusal') end(found.status, refused(found.status, found.description, found.parameters))
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(thrown => {
      response.writeHead(500).end(String(thrown))
    })
  })
  const listening = Promise.withResolvers<void>()
  server.listen(port, '127.0.0.1', () => listening.resolve())
  await listening.promise

  const tell = (update: object): Update => {
    const numbered = { update_id: ++updateId, ...update }
    deliver(numbered)
    return numbered
  }
  const address = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${address.port}`,
    token,
    bot,
    calls,
    of: method => calls.filter(call => call.method === method),
    sentTo: chatId => sent.get(String(chatId)) ?? [],
    next(count, method = 'sendMessage') {
      const add = (outcome: Outcome) => void scripts.push({ method, left: count, outcome })
      return {
        answer(status, { retryAfterSeconds, description = descriptions[status] ?? 'Error', parameters } = {}) {
          const asked = retryAfterSeconds === undefined ? parameters : { retry_after: retryAfterSeconds, ...parameters }
          const said = retryAfterSeconds === undefined ? description : `${description} ${retryAfterSeconds}`
          add({ ...refusal(status, said), ...(asked && { parameters: asked }) })
        },
        slow: ms => add({ is: 'slow', ms }),
        drop: () => add({ is: 'drop' }),
        garbage: (body, status = 200) => add({ is: 'garbage', status, body }),
      }
    },
    meet(decide) {
      meet = decide
    },
    say: (text, by) => tell({ message: messageOf(text, by ?? {}, nextMessageId) }),
    tell,
    again: deliver,
    hold() {
      held ??= []
    },
    release(order = each => each) {
      const updates = order(held ?? [])
      held = undefined
      // What is polled for comes as one batch, in this order.
      for (const update of updates) deliver(update)
    },
    block(chatId) {
      blocked.add(String(chatId))
      return tell(membershipOf(chatId, 'kicked'))
    },
    unblock(chatId) {
      blocked.delete(String(chatId))
    },
    webhook: () => hook,
    pushes,
    async until(check, timeoutMs = 15_000) {
      if (check()) return
      const done = Promise.withResolvers<void>()
      const timer = setTimeout(
        () => done.reject(new Error(`it did not come to this within ${timeoutMs} ms: ${check}\n${JSON.stringify(calls.slice(-20))}`)),
        timeoutMs,
      )
      const watcher = () => {
        if (check()) done.resolve()
      }
      watchers.add(watcher)
      try {
        await done.promise
      } finally {
        clearTimeout(timer)
        watchers.delete(watcher)
      }
    },
    async close() {
      isClosed = true
      poll?.cut()
      server.closeAllConnections()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}
