import { createHash } from 'node:crypto'
import { type AnyCommand, optionNameOf } from '@/core/command'
import { isOptional, type TSchema } from '@/core/schema'

/**
 * Commands as Discord is told them, so that it asks for each argument by its name:
 * https://discord.com/developers/docs/interactions/application-commands#application-command-object
 */
export interface CommandPayload {
  type: 1
  name: string
  description: string
  /** Installed in a server, not by a user for himself. */
  integration_types: [0]
  /** In servers and with the bot alone; not in chats of others. */
  contexts: [0, 1]
  options: OptionPayload[]
}
interface OptionPayload {
  type: number
  name: string
  description: string
  required: boolean
  choices?: { name: string; value: string }[]
  min_value?: number
  max_value?: number
  min_length?: number
  max_length?: number
}

/** No others come out of `defineCommand`. */
const optionTypes = { string: 3, integer: 4 } as const
const descriptionMax = 100
const lengthMax = 6000

export function payloadsOf(commands: readonly AnyCommand[]): CommandPayload[] {
  return commands.map(command => ({
    type: 1,
    name: command.name,
    description: command.summary,
    integration_types: [0],
    contexts: [0, 1],
    options: Object.entries(command.args.properties).map(([name, schema]) => optionOf(name, schema)),
  }))
}

/** What the commands were told as, for one application: when it is another, they are told again. */
export const digestOf = (applicationId: string, payloads: readonly CommandPayload[]): string =>
  createHash('sha256')
    .update(JSON.stringify([applicationId, payloads]))
    .digest('hex')

/** The argument that an option stands for; what is none of the command stays as it is. */
export const propertyOf = ({ args }: AnyCommand, option: string): string =>
  Object.keys(args.properties).find(property => optionNameOf(property) === option) ?? option

function optionOf(property: string, schema: TSchema): OptionPayload {
  const type = optionTypes[schema['type'] as keyof typeof optionTypes]
  const values = schema['enum'] as string[] | undefined
  return {
    type,
    name: optionNameOf(property),
    description: (schema.description ?? property).slice(0, descriptionMax),
    required: !isOptional(schema),
    ...(values && { choices: values.map(value => ({ name: value, value })) }),
    ...(type === optionTypes.string && !values && lengthsOf(schema)),
    ...(type === optionTypes.integer && boundsOf(schema)),
  }
}

function lengthsOf({ minLength, maxLength }: TSchema): Pick<OptionPayload, 'min_length' | 'max_length'> {
  return {
    ...(minLength !== undefined && { min_length: Math.min(minLength, lengthMax) }),
    ...(maxLength !== undefined && { max_length: Math.min(Math.max(maxLength, 1), lengthMax) }),
  }
}

const boundsOf = ({ minimum, maximum }: TSchema): Pick<OptionPayload, 'min_value' | 'max_value'> => ({
  ...(minimum !== undefined && { min_value: minimum }),
  ...(maximum !== undefined && { max_value: maximum }),
})
