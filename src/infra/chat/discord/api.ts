import type { DiscordAPIError, RateLimitError, REST } from '@discordjs/rest'
import { chatCodes, chatErrors, type SendOptions } from '@/core/chat'
import type { Config } from '@/core/config/settings'
import { AppError } from '@/core/error'
import { Type, validatorOf } from '@/core/schema'
import type { Gates } from '../gates'
import type { Turns } from '../turns'
import { until } from '@/core/wait'
import type { CommandPayload } from './command-options'
import { createDiscordFetch, TooManyInvalid } from './fetch'

/**
 * What the bot asks of Discord's REST API. All of it keeps to the limits of buckets, which the library knows, and of the bot, whose
 * turns processes share; a wait that is longer than a call waits is thrown as PlatformBusy. Nothing is tried again that may have been done.
 */
export interface DiscordApi {
  application(signal: AbortSignal): Promise<{ id: string; verify_key: string }>
  setCommands(commands: readonly CommandPayload[], signal: AbortSignal): Promise<void>
  /** @param nonce 25 characters at most; what has one that is known is not sent again. @returns the id of the message */
  createMessage(channelId: string, content: string, nonce: string, options: Creating): Promise<string>
  /** Puts text in the place of what stands there for an answer that was put off. */
  editAnswer(token: string, content: string, signal: AbortSignal): Promise<void>
}

export interface Creating {
  signal: AbortSignal
  isStillWanted?: SendOptions['isStillWanted'] | undefined
}

export interface ApiTools {
  config: Pick<Config['discord'], 'apiRoot' | 'applicationId'>
  token: string
  gates: Gates
  turns: Turns
  /** Discord does not take the token. */
  onRefused(): void
  /** How each call ended. */
  onOutcome(outcome: Outcome): void
}
export type Outcome = 'ok' | 'busy' | 'gone' | 'refused' | 'late' | 'unavailable'

type Library = typeof import('@discordjs/rest')
interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH'
  route: `/${string}`
  body?: unknown
  /** Absent where the token in the path is enough, and the limit of the bot does not count. */
  isAuthorized: boolean
  /** Asked also when the token was refused: it tells when it is not any more. */
  isProbe?: boolean
  /** Where the limit of messages counts. */
  chatId?: string
  isStillWanted?: SendOptions['isStillWanted'] | undefined
}

const timeoutMs = 10_000
/** A call waits so long for its turn; a task that would wait longer is better put off than kept. */
const turnWaitMaxMs = 5000
/** A call with all its waits. */
const callMaxMs = 12_000
const suppressEmbeds = 4
/** Nobody is called by what a stranger has written. */
const noMentions = { parse: [] }
/** Codes of https://discord.com/developers/docs/topics/opcodes-and-status-codes#json: unknown or no access, no permission, no common server. */
const goneCodes: readonly unknown[] = [10_003, 10_004, 50_001, 50_007, 50_013, 50_278]
/** Unknown webhook, unknown interaction, unknown message, token of a webhook that is not valid. */
const lateCodes: readonly unknown[] = [10_015, 10_062, 10_008, 50_027]

const isNotApplication = validatorOf(
  Type.Object({ id: Type.String({ pattern: '^[0-9]{1,20}$' }), verify_key: Type.String({ pattern: '^[0-9a-f]{64}$' }) }),
)
const isNotMessage = validatorOf(Type.Object({ id: Type.String({ pattern: '^[0-9]{1,20}$' }) }))

export function createDiscordApi({ config, token, gates, turns, onRefused, onOutcome }: ApiTools): DiscordApi {
  let opening: Promise<{ library: Library; rest: REST }> | undefined
  let isRefused = false

  /** Loaded when first asked for: a process starts sooner without it. */
  const open = () => {
    opening ??= import('@discordjs/rest').then(library => ({ library, rest: opened(library) }))
    return opening
  }

  function opened({ REST }: Library): REST {
    const ask = createDiscordFetch({ onGlobalLimit: forMs => gates.close(undefined, forMs) })
    const rest = new REST({
      api: config.apiRoot,
      version: '10',
      retries: 0,
      timeout: timeoutMs,
      offset: offsetMs,
      // How long a call waits is decided here.
      rejectOnRateLimit: () => true,
      makeRequest: (url, init) => ask(url, init as unknown as RequestInit) as never,
    })
    return rest.setToken(token)
  }

  async function call(asked: Call, signal: AbortSignal): Promise<unknown> {
    const endMs = performance.now() + callMaxMs
    try {
      const answer = await callUntil(asked, signal, endMs)
      if (asked.isAuthorized) isRefused = false
      onOutcome('ok')
      return answer
    } catch (thrown) {
      if (signal.aborted) throw signal.reason
      const error = errorOf(thrown, (await open()).library, asked)
      if (error.code === chatCodes.off && !isRefused) {
        isRefused = true
        onRefused()
      }
      // It was not asked at all.
      if (error.code !== 'Aborted.NotWanted') onOutcome(outcomes[error.code] ?? 'unavailable')
      throw error
    }
  }

  async function callUntil(asked: Call, signal: AbortSignal, endMs: number): Promise<unknown> {
    const { library, rest } = await open()
    const { method, route, body, isAuthorized, isProbe, chatId, isStillWanted } = asked
    // Before anybody else has the turn of this chat.
    const ask = async () => {
      try {
        return await rest.request({ method: method as never, fullRoute: route, body, auth: isAuthorized, signal })
      } catch (thrown) {
        // The library forgets a limit when it learns how a bucket is called.
        if (chatId !== undefined && thrown instanceof library.RateLimitError && !thrown.global) gates.close(chatId, waitOf(thrown))
        throw thrown
      }
    }
    for (;;) {
      if (isRefused && isAuthorized && !isProbe) throw chatErrors.PlatformOff()
      const untilMs = performance.now() + turnWaitMaxMs
      try {
        return await (chatId === undefined
          ? ask()
          : turns.take({ chatId, limits: {}, isUrgent: false, untilMs, signal, isStillWanted }, ask))
      } catch (thrown) {
        if (!(thrown instanceof library.RateLimitError)) throw thrown
        const wakeAtMs = performance.now() + waitOf(thrown)
        if (waitOf(thrown) > turnWaitMaxMs || wakeAtMs > endMs) throw thrown
        await until(wakeAtMs, signal)
      }
    }
  }

  return {
    async application(signal) {
      const answer = await call({ method: 'GET', route: '/applications/@me', isAuthorized: true, isProbe: true }, signal)
      if (isNotApplication(answer) !== undefined) throw chatErrors.PlatformUnavailable()
      return answer as { id: string; verify_key: string }
    },
    async setCommands(body, signal) {
      await call({ method: 'PUT', route: `/applications/${config.applicationId}/commands`, body, isAuthorized: true }, signal)
    },
    async createMessage(channelId, content, nonce, { signal, isStillWanted }) {
      const body = { content, nonce, enforce_nonce: true, allowed_mentions: noMentions, flags: suppressEmbeds }
      const answer = await call(
        { method: 'POST', route: `/channels/${channelId}/messages`, body, isAuthorized: true, chatId: channelId, isStillWanted },
        signal,
      )
      if (isNotMessage(answer) !== undefined) throw chatErrors.PlatformUnavailable()
      return (answer as { id: string }).id
    },
    async editAnswer(interactionToken, content, signal) {
      const route = `/webhooks/${config.applicationId}/${interactionToken}/messages/@original` as const
      const body = { content, allowed_mentions: noMentions, flags: suppressEmbeds }
      await call({ method: 'PATCH', route, body, isAuthorized: false }, signal)
    },
  }
}

/** Added to each wait, since timers and clocks count whole milliseconds. */
const offsetMs = 5

const waitOf = ({ timeToReset, retryAfter }: RateLimitError): number => Math.max(0, timeToReset, retryAfter)

const outcomes: Readonly<Record<string, Outcome>> = {
  [chatCodes.busy]: 'busy',
  [chatCodes.gone]: 'gone',
  [chatCodes.refused]: 'refused',
  [chatCodes.off]: 'refused',
  [chatCodes.late]: 'late',
}

/** What went wrong, as all platforms say it. What is said by whatever stands before Discord has no code, and ends nothing. */
function errorOf(thrown: unknown, library: Library, { isAuthorized }: Call): AppError {
  if (thrown instanceof AppError) return thrown
  if (thrown instanceof library.RateLimitError) return chatErrors.PlatformBusy({ retryAfterSeconds: waitOf(thrown) / 1000 })
  if (thrown instanceof TooManyInvalid) return chatErrors.PlatformBusy({ retryAfterSeconds: thrown.waitMs / 1000 })
  if (!(thrown instanceof library.DiscordAPIError)) return chatErrors.PlatformUnavailable({ cause: withoutRequest(thrown) })
  const { status, code } = thrown
  const cause = withoutRequest(thrown)
  if (!isAuthorized) {
    if (lateCodes.includes(code)) return chatErrors.AnswerLate({ cause })
  } else if (status === 401) return chatErrors.PlatformOff({ cause })
  if (goneCodes.includes(code)) return chatErrors.ChatGone({ cause })
  return typeof code === 'number' ? chatErrors.MessageRefused({ cause }) : chatErrors.PlatformUnavailable({ cause })
}

/** The library keeps what was asked, with its address, in its errors; these may hold what only the asked is to know. */
function withoutRequest(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error('Discord was asked in vain')
  const { status, code } = thrown as Partial<DiscordAPIError>
  return new Error([thrown.name, status, code].filter(part => part !== undefined).join(' '))
}
