import type { Incoming } from '@/core/chat'
import type { AnyCommand, CommandArgs } from '@/core/command'
import { faultsOf, isOptional, type TSchema, validatorOf } from '@/core/schema'

/**
 * What is typed behind a command, as its schema has it. In the order of the properties, one word each, and the last takes all that is left; or by
 * name, where the platform asks for each.
 */
export type Parsed = { args: unknown } | { fault: string }

export function parseArguments({ args: schema }: AnyCommand, input: Incoming['input']): Parsed {
  const given = typeof input === 'string' ? typed(schema, input) : named(schema, input)
  if (typeof given === 'string') return { fault: given }
  const missing = Object.keys(schema.properties).find(name => given[name] === undefined && !isOptional(schema.properties[name] as TSchema))
  if (missing !== undefined) return { fault: `${missing} is missing` }
  if (checkOf(schema)(given) === undefined) return { args: given }
  const [first] = faultsOf(schema, given)
  return { fault: first ? `${first.pointer.slice(1)}: ${first.detail}` : 'does not fit' }
}

/** `/maintenance on|off [message]` */
export function usageOf({ name, args }: AnyCommand): string {
  const said = Object.entries(args.properties).map(([property, schema]) => {
    const values = enumOf(schema)
    const what = values ? values.join('|') : property
    return isOptional(schema) ? `[${what}]` : values ? what : `<${what}>`
  })
  return [`/${name}`, ...said].join(' ')
}

function typed({ properties }: CommandArgs, text: string): Record<string, unknown> | string {
  const given: Record<string, unknown> = {}
  let rest = text.trim()
  for (const [i, [property, schema]] of Object.entries(properties).entries()) {
    if (rest === '') break
    const isLast = i === Object.keys(properties).length - 1
    const word = isLast ? rest : (/^\S+/.exec(rest)?.[0] ?? '')
    rest = rest.slice(word.length).trim()
    given[property] = meantBy(schema, word)
  }
  return rest === '' ? given : 'that is more than it takes'
}

function named({ properties }: CommandArgs, input: Exclude<Incoming['input'], string>): Record<string, unknown> | string {
  const given: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(input)) {
    if (!Object.hasOwn(properties, name)) return 'that is more than it takes'
    given[name] = typeof value === 'string' ? meantBy(properties[name] as TSchema, value.trim()) : value
  }
  return given
}

/** What does not fit stays as it is: the schema refuses it. */
function meantBy(schema: TSchema, text: string): unknown {
  // Keyboards of phones begin with a capital.
  const value = enumOf(schema)?.find(each => each.toLowerCase() === text.toLowerCase())
  if (value !== undefined) return value
  return schema['type'] === 'integer' && /^-?\d{1,15}$/.test(text) ? Number(text) : text
}

const enumOf = (schema: TSchema) => schema['enum'] as readonly string[] | undefined

const checks = new WeakMap<CommandArgs, ReturnType<typeof validatorOf>>()
/** Compiled when it is first needed, since most commands take nothing. */
function checkOf(schema: CommandArgs): ReturnType<typeof validatorOf> {
  const made = checks.get(schema) ?? validatorOf({ ...schema, additionalProperties: false })
  checks.set(schema, made)
  return made
}
