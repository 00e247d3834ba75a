import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

/** The side of a fake Discord that sends: it signs what people do, and keeps what is answered. */
export interface DiscordSender {
  /** In hex, for `discord.publicKey`. */
  publicKey: string
  /** Somebody gives a command: `/user`, with the options by their names. @param to where the bot server is */
  give(to: string, command: string, options?: Options, who?: Who): Promise<GivenCommand>
  /** Sends any interaction. */
  send(to: string, interaction: unknown, how?: Signing): Promise<Response>
  /** What would be sent for a command: for tests that change it. */
  interaction(command: string, options?: Options, who?: Who): Record<string, unknown> & { id: string; token: string }
  /** @returns whether that was answered or put off, and not too long ago */
  edited(token: string, content: string): boolean
}

export type Options = Readonly<Record<string, string | number | boolean>>

export interface Who {
  senderId?: string
  senderName?: string
  channelId?: string
  /** In a server; with the bot alone when absent. */
  guildId?: string
}

/** How it is forged. */
export interface Signing {
  /** Seconds since 1970; now when absent. */
  timestamp?: string
  /** Of somebody else. */
  key?: KeyObject
  /** Changes what was signed. */
  mutate?: (sent: { timestamp: string; signature: string; body: Uint8Array }) => {
    timestamp?: string
    signature?: string
    body?: Uint8Array
  }
}

export interface GivenCommand {
  id: string
  status: number
  /** What the bot said at once. */
  answer: { type: number; data?: { content?: string; flags?: number; allowed_mentions?: unknown } }
  tookMs: number
  /** What people see there in the end, without what keeps signs from being formatted. @throws Error when nothing does in time */
  shown(timeoutMs?: number): Promise<string>
  /** All that the bot has put there, one after another. */
  history: readonly string[]
}

/** Discord waits so long for an answer, and takes none after it. */
const answerMaxMs = 3000
const shownTimeoutMs = 15_000

interface Waiting {
  isAnswered: boolean
  history: string[]
  first: PromiseWithResolvers<string>
}

export function discordSender(applicationId: string): DiscordSender {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const waiting = new Map<string, Waiting>()

  const interaction: DiscordSender['interaction'] = (command, options = {}, who = {}) => {
    const { senderId = '210000000000000001', senderName = 'Ada', channelId = '310000000000000001', guildId } = who
    const user = { id: senderId, username: senderName.toLowerCase(), global_name: senderName, avatar: null }
    return {
      ...{ id: nextId(), application_id: applicationId, type: 2, version: 1, token: crypto.randomUUID().repeat(3), locale: 'en-US' },
      ...{ channel_id: channelId, channel: { id: channelId, type: guildId === undefined ? 1 : 0 } },
      ...(guildId === undefined ? { context: 1, user } : { context: 0, guild_id: guildId, member: { user, roles: [] } }),
      data: {
        ...{ id: nextId(), type: 1, name: command.replace(/^\//, '') },
        options: Object.entries(options).map(([name, value]) => ({ name, value, type: typeof value === 'string' ? 3 : 4 })),
      },
    }
  }

  async function send(to: string, sent: unknown, how: Signing = {}): Promise<Response> {
    const own = { timestamp: how.timestamp ?? String(Math.floor(Date.now() / 1000)), body: new TextEncoder().encode(JSON.stringify(sent)) }
    const signature = sign(null, Buffer.concat([Buffer.from(own.timestamp), own.body]), how.key ?? privateKey).toString('hex')
    const { timestamp, body, signature: shown } = { ...own, signature, ...how.mutate?.({ ...own, signature }) }
    const headers = { 'content-type': 'application/json', 'x-signature-ed25519': shown, 'x-signature-timestamp': timestamp }
    return fetch(`${to}/bot/discord`, { method: 'POST', body: new Uint8Array(body), headers })
  }

  return {
    publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex'),
    interaction,
    send,
    edited(token, content) {
      const known = waiting.get(token)
      if (!known?.isAnswered) return false
      known.history.push(content)
      known.first.resolve(content)
      return true
    },
    async give(to, command, options, who) {
      const sent = interaction(command, options, who)
      const state: Waiting = { isAnswered: false, history: [], first: Promise.withResolvers() }
      waiting.set(sent.token, state)
      const startedAtMs = performance.now()
      const response = await send(to, sent)
      const tookMs = performance.now() - startedAtMs
      const answer = (await response.json().catch(() => ({ type: 0 }))) as GivenCommand['answer']
      state.isAnswered = response.status === 200 && tookMs < answerMaxMs
      if (answer.type === 4 && state.isAnswered) {
        state.history.push(answer.data?.content ?? '')
        state.first.resolve(answer.data?.content ?? '')
      }
      const shown = async (timeoutMs = shownTimeoutMs) => {
        const late = Bun.sleep(timeoutMs).then(() => Promise.reject(new Error(`nothing was shown for ${command} in time`)))
        await Promise.race([state.first.promise, late])
        return asShown(state.history.at(-1) as string)
      }
      return { id: sent.id, status: response.status, answer, tookMs, shown, history: state.history }
    },
  }
}

const asShown = (content: string): string => content.replace(/\\([^0-9A-Za-z\s])/g, '$1')

let ids = 0n
/** Ids begin with the time since 2015, in milliseconds. */
export const nextId = (): string => String((BigInt(Date.now() - 1_420_070_400_000) << 22n) + (ids++ & 0x3fffffn))
