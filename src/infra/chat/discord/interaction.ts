import type { Incoming } from '@/core/chat'
import type { AnyCommand } from '@/core/command'
import { type Static, Type, validatorOf } from '@/core/schema'
import { propertyOf } from './command-options'
import { bounded } from './text'

/**
 * What Discord sends when somebody gives a command:
 * https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object
 * More than this may be in it.
 */
const Snowflake = Type.String({ pattern: '^[0-9]{1,20}$' })
const Sender = Type.Object({
  id: Snowflake,
  username: Type.Optional(Type.String({ maxLength: 1000 })),
  global_name: Type.Optional(Type.Union([Type.Null(), Type.String({ maxLength: 1000 })])),
})
const Option = Type.Object({
  name: Type.String({ pattern: '^[a-z0-9_-]{1,32}$' }),
  value: Type.Union([Type.String({ maxLength: 6000 }), Type.Number(), Type.Boolean()]),
})
const Ping = Type.Object({ type: Type.Literal(1) })
const CommandGiven = Type.Object({
  type: Type.Literal(2),
  id: Snowflake,
  application_id: Snowflake,
  token: Type.String({ pattern: '^[A-Za-z0-9_.=-]{1,512}$' }),
  channel_id: Snowflake,
  guild_id: Type.Optional(Snowflake),
  context: Type.Optional(Type.Integer()),
  channel: Type.Optional(Type.Object({ type: Type.Optional(Type.Integer()) })),
  member: Type.Optional(Type.Object({ user: Sender })),
  user: Type.Optional(Sender),
  data: Type.Object({
    name: Type.String({ pattern: '^[a-z0-9_]{1,32}$' }),
    type: Type.Optional(Type.Literal(1)),
    options: Type.Optional(Type.Array(Option, { maxItems: 25 })),
  }),
})
type CommandGiven = Static<typeof CommandGiven>

const notPing = validatorOf(Ping)
const notCommand = validatorOf(CommandGiven)

/** Of `context`: between somebody and the bot. */
const withBot = 1
/** Of a channel: between two. */
const ofTwo = 1
const typedMax = 4096
const nameMax = 100
/** Discord says 15 minutes; our clock and its may differ. */
const answerWithinMs = 14.5 * 60_000

export type Interaction = { is: 'ping' } | { is: 'command'; incoming: Incoming } | { is: 'unknown'; why: string }

/**
 * @param body as it came, and signed
 * @param commands those that the platform was told
 */
export function interactionOf(
  body: Uint8Array,
  { applicationId, commands, nowMs }: { applicationId: string; commands: readonly AnyCommand[]; nowMs: number },
): Interaction {
  const value = jsonOf(body)
  if (notPing(value) === undefined) return { is: 'ping' }
  const why = notCommand(value)
  if (why !== undefined) return { is: 'unknown', why }
  const given = value as CommandGiven
  if (given.application_id !== applicationId) return { is: 'unknown', why: 'is for another application' }
  const sender = given.member?.user ?? given.user
  if (!sender) return { is: 'unknown', why: 'is from nobody' }
  const command = commands.find(({ name }) => name === given.data.name)
  const nameOf = (option: string) => (command ? propertyOf(command, option) : option)
  const incoming: Incoming = {
    platform: 'discord',
    id: given.id,
    order: orderOf(given.id),
    chatId: given.channel_id,
    isPrivate: isPrivate(given),
    senderId: sender.id,
    senderName: bounded(sender.global_name || sender.username || '', nameMax),
    command: given.data.name,
    input: inputOf(given.data.options ?? [], nameOf),
    replyTo: replyTo(given.token, nowMs),
    answerUntilMs: nowMs + answerWithinMs,
    isAwaited: true,
  }
  return { is: 'command', incoming }
}

/** Of all that is typed no more is kept than may be: what is too long is cut, and the longest first. */
function inputOf(options: readonly Static<typeof Option>[], nameOf: (option: string) => string): Exclude<Incoming['input'], string> {
  for (let max = typedMax; ; max = max >> 1) {
    const cut = options.map(({ name, value }) => [nameOf(name), typeof value === 'string' ? bounded(value, max) : value] as const)
    const input = Object.fromEntries(cut)
    if (JSON.stringify(input).length <= typedMax || max === 0) return input
  }
}

/** Where it is answered, and when it came. */
const replyTo = (token: string, nowMs: number): string => `${nowMs}:${token}`
export function replyOf(text: string): { token: string; cameAtMs: number } {
  const colon = text.indexOf(':')
  return { cameAtMs: Number(text.slice(0, colon)), token: text.slice(colon + 1) }
}

/** Ids begin with the time; numbers have room for 53 of their 64 bits, so those of one worker in one millisecond are in no order. */
const orderOf = (id: string): number => Number(BigInt(id) >> 11n)

function isPrivate({ context, guild_id, channel }: CommandGiven): boolean {
  return context === undefined ? guild_id === undefined && channel?.type === ofTwo : context === withBot
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
}
