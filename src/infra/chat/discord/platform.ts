import { createHash, randomUUID } from 'node:crypto'
import { type ChatPlatform, type ChatReceiver, chatCodes, chatErrors, type PlatformState } from '@/core/chat'
import { AppError, defineErrors } from '@/core/error'
import type { ChatTools } from '../open'
import { chatMeters } from '../meters'
import { createGates } from '../gates'
import { createTurns } from '../turns'
import { until } from '@/core/wait'
import { createDiscordApi, type DiscordApi } from './api'
import { interactionOf, replyOf } from './interaction'
import { createStanding } from '../standing'
import { introduce, retryAfterMs, tokenRefused, wrong } from './standing'
import { createSignatureCheck } from './signature'
import { messageOf } from './text'

/**
 * Discord sends each command to /bot/discord and takes the answer with it, when it is there within three seconds; else it is told that
 * the answer comes later, and that is put in its place. In servers only who has given a command sees the answer: what is said of an account
 * is not for everybody there, and whether it must be hidden has to be said before the answer is known. With the bot alone all of it stays.
 */
const discordErrors = defineErrors({
  Signature: [
    'Unauthenticated',
    'This is not signed by Discord for this application, or not within the last five minutes: discord.publicKey is what it is checked with.',
  ],
  Interaction: ['InvalidArgument', 'This is no interaction that the bot knows: it has commands, and nothing else.'],
})

/** Discord waits three seconds, and the answer has to get there. */
const answerWithinMs = 2000
/** What was put off may be answered before Discord has heard that it was. */
const unheardMs = 3000
const unheardPauseMs = 200

const interactionAnswers = { pong: 1, message: 4, later: 5 } as const
const ephemeral = 64
const suppressEmbeds = 4

export function discordPlatform(tools: ChatTools): ChatPlatform {
  const { db, clock, log, metrics, redis, commands } = tools
  const config = tools.config.discord
  const { token, applicationId, publicKey } = config
  const fault = faultOf(config)
  const standing = createStanding({ platform: 'discord', log, fault, wrong, retryAfterMs })
  const meters = chatMeters(metrics, 'discord')
  const isSignedBadly = createSignatureCheck(publicKey ?? '', clock)
  let hasHeard = false
  let hasHinted = false
  // Where it is off nothing is opened for it.
  const api = fault ? undefined : openedApi()

  function openedApi(): DiscordApi {
    const gates = createGates('discord', { db, clock, log, bot: applicationId ?? '' })
    const turns = createTurns('discord', { config: tools.config, redis, log, gates, perSecond: config.messagesPerSecond })
    return createDiscordApi({
      config,
      token: token ?? '',
      gates,
      turns,
      onOutcome: meters.called,
      onRefused: () => standing.refuse(tokenRefused),
    })
  }

  /** Anybody can send what is not signed, so it is said once, and only while nothing has come that is. */
  function hint(): void {
    if (hasHeard || hasHinted) return
    hasHinted = true
    log.warn(
      'a request to /bot/discord was not signed with discord.publicKey: where Discord says that it cannot verify the endpoint, set it',
      {
        platform: 'discord',
      },
    )
  }

  async function answered(body: Uint8Array, receiver: ChatReceiver, startedAtMs: number): Promise<Response> {
    const interaction = interactionOf(body, { applicationId: applicationId ?? '', commands: commands.all(), nowMs: clock.nowMs() })
    if (interaction.is === 'ping') return Response.json({ type: interactionAnswers.pong })
    if (interaction.is === 'unknown') {
      log.debug('an interaction of Discord is not known', { why: interaction.why })
      throw discordErrors.Interaction()
    }
    const { incoming } = interaction
    await receiver.receive([incoming])
    const leftMs = Math.max(0, startedAtMs + answerWithinMs - performance.now())
    const text = await receiver.answerOf(incoming, leftMs)
    const flags = incoming.isPrivate ? 0 : ephemeral
    if (text === undefined) return Response.json({ type: interactionAnswers.later, data: { flags } })
    const data = { content: messageOf(text), flags: flags | suppressEmbeds, allowed_mentions: { parse: [] } }
    return Response.json({ type: interactionAnswers.message, data })
  }

  return {
    name: 'discord',
    state: standing.state,

    async send(chatId, text, { signal, key = randomUUID(), isStillWanted }) {
      if (!api) throw chatErrors.PlatformOff()
      return api.createMessage(chatId, messageOf(text), nonceOf(chatId, key), { signal, isStillWanted })
    },

    async answer({ replyTo }, text, { signal }) {
      if (!api) throw chatErrors.PlatformOff()
      const { token: interactionToken, cameAtMs } = replyOf(replyTo)
      for (;;) {
        try {
          return await api.editAnswer(interactionToken, messageOf(text), signal)
        } catch (thrown) {
          const isEarly = clock.nowMs() - cameAtMs < unheardMs
          if (!(isEarly && thrown instanceof AppError && thrown.code === chatCodes.late)) throw thrown
        }
        await until(performance.now() + unheardPauseMs, signal)
      }
    },

    async webhook(request, body, receiver) {
      const startedAtMs = performance.now()
      if (fault?.is === 'off') throw chatErrors.PlatformOff()
      const signatureFault = isSignedBadly(request, body)
      meters.came(signatureFault ?? 'ok')
      if (signatureFault) {
        if (signatureFault === 'wrong') hint()
        throw discordErrors.Signature()
      }
      hasHeard = true
      return answered(body, receiver, startedAtMs)
    },

    service: () =>
      standing.service(async (signal, ready) => {
        if (api) await introduce({ config, api, db, log, commands }, signal)
        ready()
      }),
  }
}

/** What keeps it from being asked at all. */
function faultOf({ token, applicationId, publicKey }: ChatTools['config']['discord']): PlatformState | undefined {
  if (token === undefined) return { is: 'off', why: 'discord.token is not set; set BINGO_DISCORD_TOKEN or BINGO_DISCORD_TOKEN_FILE' }
  const missing = [
    ...(applicationId === undefined ? ['discord.applicationId is not set; set BINGO_DISCORD_APPLICATION_ID'] : []),
    ...(publicKey === undefined ? ['discord.publicKey is not set; set BINGO_DISCORD_PUBLIC_KEY'] : []),
  ]
  return missing.length > 0 ? { is: 'failed', why: missing.join(', and ') } : undefined
}

/** Discord takes 25 characters, and looks at the last minutes of the whole bot. */
const nonceOf = (chatId: string, key: string): string =>
  createHash('sha256')
    .update(JSON.stringify([chatId, key]))
    .digest('base64url')
    .slice(0, 24)
