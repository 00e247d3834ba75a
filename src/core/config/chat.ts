import { OneOf, secret, Type } from '../schema'
import { section } from './section'

/** The settings of chat platforms; each is off without its token. */

const perSecond = (fallback: number) =>
  Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: fallback,
    description: 'Messages in a second, of all processes together; the platform itself may ask for fewer.',
  })

export const telegram = section('Telegram.', {
  token: Type.Optional(
    secret(Type.String({ minLength: 1, description: 'Token of the bot, as @BotFather says it. Without it Telegram is off.' })),
  ),
  apiRoot: Type.String({ format: 'web-url', default: 'https://api.telegram.org', description: 'Where the Bot API is.' }),
  mode: OneOf(['polling', 'webhook'], {
    default: 'polling',
    description:
      'Whether the bot asks for what is new, of all processes one at a time, or Telegram sends it to /bot/telegram of telegram.publicUrl.',
  }),
  publicUrl: Type.Optional(
    Type.String({
      format: 'web-url',
      description: 'Where Telegram reaches the bot server, such as https://bot.example.com; for webhooks, and with HTTPS.',
    }),
  ),
  messagesPerSecond: perSecond(25),
})

export const discord = section('Discord, which sends what is new to /bot/discord.', {
  token: Type.Optional(secret(Type.String({ minLength: 1, description: 'Token of the bot. Without it Discord is off.' }))),
  applicationId: Type.Optional(Type.String({ pattern: '^[0-9]{1,20}$', description: 'Id of the application.' })),
  publicKey: Type.Optional(
    Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Public key of the application, in hex, by which what it sends is checked.' }),
  ),
  apiRoot: Type.String({
    format: 'web-url',
    default: 'https://discord.com/api',
    description: 'Where the REST API is, without its version.',
  }),
  messagesPerSecond: perSecond(45),
})
