import { type ChatPlatform, type ChatReceiver, chatErrors, type PlatformState } from '@/core/chat'
import { AppError } from '@/core/error'
import { printable } from '@/core/printable'
import { createGates } from '../gates'
import { type ChatMeters, chatMeters } from '../meters'
import type { ChatTools } from '../open'
import { createStanding } from '../standing'
import { createTurns } from '../turns'
import { type TelegramApi, TelegramRefusal, telegramApi } from './api'
import { tellCommands } from './commands'
import { handOver, handOverAll } from './hand-over'
import { createPolling, type PollingTimes } from './polling'
import { createSending, type Sending } from './sending'
import { answering, type Bot, type Reading } from './updates'
import { refuseForged, tellWebhook, updateIn, webhookErrors, webhookOf } from './webhook'

/** Telegram: nothing is asked of it before its service has started, and nothing at all without a token. */
export function telegramPlatform(tools: ChatTools, times?: PollingTimes): ChatPlatform {
  const { token } = tools.config.telegram
  return token === undefined ? offPlatform() : onPlatform(token, tools, times)
}

const notReadySeconds = 1

function offPlatform(): ChatPlatform {
  const off = async () => {
    throw chatErrors.PlatformOff()
  }
  return {
    name: 'telegram',
    state: () => ({ is: 'off', why: 'telegram.token is not set; set BINGO_TELEGRAM_TOKEN or BINGO_TELEGRAM_TOKEN_FILE' }),
    send: off,
    answer: off,
    webhook: off,
    service: () => ({ name: 'telegram', start: async () => {}, stop: async () => {} }),
  }
}

function onPlatform(token: string, tools: ChatTools, times?: PollingTimes): ChatPlatform {
  const { config, db, clock, log, commands, cipher } = tools
  const { apiRoot, mode, publicUrl, messagesPerSecond } = config.telegram
  const webhook = mode === 'webhook' && publicUrl !== undefined ? webhookOf(publicUrl, token, cipher) : undefined
  const reading = (bot: Bot): Reading => ({ bot, hasCommand: name => commands.all().some(command => command.name === name) })
  const meters = chatMeters(tools.metrics, 'telegram')
  const api = counted(telegramApi(token, apiRoot), meters)
  const fault = mode === 'webhook' && !webhook ? publicUrlMissing : undefined
  const standing = createStanding({ platform: 'telegram', log, fault, wrong, retryAfterMs })
  let bot: Bot | undefined
  let opened: Sending | undefined

  const sending = (): Sending => {
    if (standing.state().is === 'failed') throw chatErrors.PlatformOff()
    opened ??= openSending(api, tools, messagesPerSecond, () => standing.refuse(tokenRefused))
    return opened
  }

  /** Everything that is to be there before something comes in. @throws what `call` of the API throws */
  async function prepare(receiver: ChatReceiver, signal: AbortSignal): Promise<(signal: AbortSignal) => Promise<void>> {
    const me = await api.call('getMe', {}, signal)
    bot = me
    if (webhook) {
      await tellWebhook(webhook, { api, db, cipher }, signal)
      return async () => {}
    }
    const all = (updates: readonly { update_id: number }[], held: AbortSignal) =>
      handOverAll(
        updates.toSorted((a, b) => a.update_id - b.update_id),
        { reading: reading(me), receiver, log },
        held,
      )
    return createPolling({ api, db, clock, log, handOver: all, ...(times && { times }) }).run
  }

  async function attempt(receiver: ChatReceiver, signal: AbortSignal, ready: () => void): Promise<void> {
    const run = await prepare(receiver, signal)
    ready()
    log.info('Telegram is ready', { platform: 'telegram', bot: printable(bot?.username ?? ''), mode })
    const telling = tellCommands(bot as Bot, { api, db, cipher, commands, log }, signal)
    await run(signal)
    await telling
  }

  return {
    name: 'telegram',
    state: standing.state,
    send: async (chatId, text, { signal, isStillWanted }) => sending().deliver(chatId, text, { isUrgent: false, signal, isStillWanted }),
    async answer({ chatId, replyTo }, text, { signal }) {
      await sending().deliver(chatId, text, { more: answering(replyTo), isUrgent: true, signal })
    },
    async webhook(request, body, receiver) {
      if (!webhook) throw webhookErrors.NotAsked()
      try {
        refuseForged(request, webhook)
      } catch (thrown) {
        meters.came('forged')
        throw thrown
      }
      if (!bot) throw webhookErrors.NotReady({ retryAfterSeconds: notReadySeconds })
      await handOver([updateIn(body)], reading(bot), receiver)
      meters.came('ok')
      return new Response(null, { status: 200 })
    },
    service: receiver => standing.service((signal, ready) => attempt(receiver, signal, ready)),
  }
}

const publicUrlMissing: PlatformState = {
  is: 'failed',
  why: 'telegram.mode is webhook, and telegram.publicUrl is not set; set BINGO_TELEGRAM_PUBLIC_URL to where Telegram reaches the bot server',
}

function openSending(api: TelegramApi, { config, db, clock, redis, log }: ChatTools, perSecond: number, onRefused: () => void): Sending {
  const gates = createGates('telegram', { db, clock, log, bot: botOf(config.telegram.token ?? '') })
  return createSending({ api, gates, turns: createTurns('telegram', { config, redis, log, gates, perSecond }), onRefused })
}

/** The id that a token begins with, of a new token of the same bot too. */
const botOf = (token: string): string => token.split(':', 1).join('').slice(0, 20)

const tokenRefused =
  'Telegram does not take telegram.token; ask @BotFather for the token of the bot, and set BINGO_TELEGRAM_TOKEN or BINGO_TELEGRAM_TOKEN_FILE'

/** What only people can mend; undefined of what passes. */
function wrong(thrown: unknown): string | undefined {
  if (!(thrown instanceof TelegramRefusal) || thrown.retryAfterSeconds !== undefined || thrown.code >= 500) return undefined
  if (thrown.code === 401 || thrown.code === 404) return tokenRefused
  return `Telegram refuses ${thrown.message}; check telegram.mode and telegram.publicUrl`
}

const counted = (api: TelegramApi, meters: ChatMeters): TelegramApi => ({
  async call(method, payload, signal) {
    try {
      const answer = await api.call(method, payload, signal)
      meters.called('ok')
      return answer
    } catch (thrown) {
      if (!signal.aborted) meters.called(outcomeOf(thrown))
      throw thrown
    }
  },
})

function outcomeOf(thrown: unknown): string {
  if (!(thrown instanceof TelegramRefusal) || thrown.code >= 500) return 'unavailable'
  if (thrown.retryAfterSeconds !== undefined) return 'busy'
  return thrown.code === 403 ? 'gone' : 'refused'
}

const retryAfterMs = (thrown: unknown): number =>
  1000 * ((thrown instanceof TelegramRefusal || thrown instanceof AppError ? thrown.retryAfterSeconds : undefined) ?? 0)
