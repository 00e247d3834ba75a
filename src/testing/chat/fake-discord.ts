import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type DiscordSender, discordSender, type GivenCommand, nextId } from './fake-discord-sender'
import { type Answer, createDiscordLimits, type DiscordLimits, type Script } from './fake-discord-limits'

/**
 * A Discord of your own, for tests of a bot: it takes what the REST API takes, says what it says of limits, and sends commands that it
 * signs. It checks as Discord does, and keeps all that it is asked.
 *
 *     const discord = await startDiscord()
 *     const bingo = await startBingo({ roles: 'bot', env: discord.env })
 *     const given = await discord.give(bingo.url, '/ping')
 *     expect(await given.shown()).toBe('pong')
 */
export interface FakeDiscord extends DiscordSender {
  /** For `discord.apiRoot`. */
  apiRoot: string
  token: string
  applicationId: string
  /** Of the environment of a bot that belongs to it. */
  env: Record<string, string>
  /** All that was asked, in its order. */
  calls: readonly DiscordCall[]
  /** What the bot has written into channels. */
  messages: readonly DiscordMessage[]
  /** What it was told last. */
  commands(): readonly { name: string; description: string; options: Record<string, unknown>[] }[]
  /** Answers the next calls otherwise than they deserve. @param where how `METHOD /path` begins: `POST /channels` */
  next(count: number, where?: string): { answer(script: Script): void }
  /** Nobody writes into that channel any more. @param code 50001 is no access, 10003 no such channel */
  close(channelId: string, code?: number): void
  /** Of what was asked too early, and how long after each wait the first call came. */
  limits: Pick<DiscordLimits, 'early' | 'lateMs'>
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface DiscordCall {
  method: string
  /** Behind the version: `/channels/1/messages`. */
  path: string
  body: unknown
  /** On a clock that is never set. */
  atMs: number
  status: number
}
export interface DiscordMessage {
  id: string
  channelId: string
  content: string
  flags: number
  allowedMentions: unknown
}

export interface FakeDiscordOptions {
  /** Of each channel in `channelWindowMs`; 5 in 5,000 as Discord has it. */
  channelMessages?: number
  channelWindowMs?: number
  /** Of the bot in a second; 50 as Discord has it. */
  globalCalls?: number
  /** What the application says its key is, where that is another. */
  saidKey?: string
  token?: string
}

const contentMax = 2000
const nonceMax = 25
const commandsMax = 100
const optionsMax = 25
const commandName = /^[-_\p{Ll}\p{N}]{1,32}$/u

export async function startDiscord(options: FakeDiscordOptions = {}): Promise<FakeDiscord> {
  const { channelMessages = 5, channelWindowMs = 5000, globalCalls = 50, token = `fake.${crypto.randomUUID()}` } = options
  const applicationId = '110000000000000001'
  const sender = discordSender(applicationId)
  const limits = createDiscordLimits({ channelMessages, channelWindowMs, globalCalls })
  const calls: DiscordCall[] = []
  const messages: DiscordMessage[] = []
  const closed = new Map<string, number>()
  const nonces = new Map<string, string>()
  let commands: ReturnType<FakeDiscord['commands']> = []

  // That of Node can end a connection without an answer.
  const server = createServer(async (request, response) => {
    const { method = '', url = '' } = request
    const path = new URL(url, 'http://localhost').pathname.replace(/^\/api\/v10/, '')
    const call: DiscordCall = { method, path, body: await bodyOf(request), atMs: performance.now(), status: 0 }
    calls.push(call)
    const answer = await limits.answer(call, () => answerOf(call, request.headers.authorization))
    if (!answer) return void request.socket.destroy()
    call.status = answer.status
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(JSON.stringify(answer.body))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))

  function answerOf({ method, path, body }: DiscordCall, authorization: string | undefined): Answer {
    const edited = /^\/webhooks\/(\d+)\/([^/]+)\/messages\/@original$/.exec(path)
    if (method === 'PATCH' && edited) return edit(edited[2] as string, body)
    if (authorization !== `Bot ${token}`) return fault(401, 0, '401: Unauthorized')
    if (method === 'GET' && path === '/applications/@me')
      return { status: 200, body: { id: applicationId, verify_key: options.saidKey ?? sender.publicKey } }
    if (method === 'PUT' && path === `/applications/${applicationId}/commands`) return told(body)
    const channel = /^\/channels\/(\d+)\/messages$/.exec(path)?.[1]
    if (method === 'POST' && channel) return written(channel, body)
    return fault(404, 0, '404: Not Found')
  }

  function edit(interactionToken: string, body: unknown): Answer {
    if (!hasContent(body)) return fault(400, 50_035, 'Invalid Form Body')
    const isKnown = sender.edited(interactionToken, body.content)
    return isKnown ? { status: 200, body: { id: nextId() } } : fault(404, 10_015, 'Unknown Webhook')
  }

  function told(body: unknown): Answer {
    if (!Array.isArray(body) || body.length > commandsMax || !body.every(isCommand)) return fault(400, 50_035, 'Invalid Form Body')
    commands = body
    return { status: 200, body: commands }
  }

  function written(channelId: string, body: unknown): Answer {
    const code = closed.get(channelId)
    if (code !== undefined) return fault(code === 10_003 ? 404 : 403, code, 'Missing Access')
    if (!hasContent(body)) return fault(400, 50_035, 'Invalid Form Body')
    const { content, nonce, enforce_nonce, flags = 0, allowed_mentions } = body
    if (nonce !== undefined && nonce.length > nonceMax) return fault(400, 50_035, 'Invalid Form Body')
    const known = enforce_nonce ? nonces.get(nonce ?? '') : undefined
    if (known) return { status: 200, body: { id: known } }
    const id = nextId()
    if (nonce !== undefined) nonces.set(nonce, id)
    messages.push({ id, channelId, content, flags, allowedMentions: allowed_mentions })
    return { status: 200, body: { id, channel_id: channelId, content } }
  }

  const apiRoot = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
  const stop = async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
  return {
    ...sender,
    apiRoot,
    token,
    applicationId,
    env: {
      BINGO_DISCORD_TOKEN: token,
      BINGO_DISCORD_APPLICATION_ID: applicationId,
      BINGO_DISCORD_PUBLIC_KEY: sender.publicKey,
      BINGO_DISCORD_API_ROOT: apiRoot,
    },
    calls,
    messages,
    commands: () => commands,
    next: (count, where = '') => ({ answer: script => limits.script(count, where, script) }),
    close: (channelId, code = 50_001) => void closed.set(channelId, code),
    limits,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

export type { GivenCommand }

interface Content {
  content: string
  nonce?: string
  enforce_nonce?: boolean
  flags?: number
  allowed_mentions?: unknown
}
const hasContent = (body: unknown): body is Content => {
  const { content } = (body ?? {}) as { content?: unknown }
  return typeof content === 'string' && content.trim().length > 0 && content.length <= contentMax
}

function isCommand(value: unknown): boolean {
  const { name, description, options = [] } = value as { name: string; description: string; options?: Option[] }
  const isDescribed = (text: unknown) => typeof text === 'string' && text.length >= 1 && text.length <= 100
  if (!commandName.test(name) || !isDescribed(description) || options.length > optionsMax) return false
  if (new Set(options.map(option => option.name)).size < options.length) return false
  if (options.some((option, i) => option.required && options[i - 1]?.required === false)) return false
  return options.every(option => commandName.test(option.name) && isDescribed(option.description) && (option.choices?.length ?? 0) <= 25)
}
interface Option {
  name: string
  description: string
  required?: boolean
  choices?: unknown[]
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined
}

const fault = (status: number, code: number, message: string): Answer => ({ status, body: { message, code } })
