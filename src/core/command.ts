import { type Access, accessErrors, decide } from './access'
import type { Asking } from './asking'
import type { PlatformName } from './chat'
import type { Identity } from './identity'
import type { Log } from './log'
import { isOptional, type Of, type TSchema, type Type } from './schema'

/** What people do with the bot, whatever the platform: `/user ada`. */
export interface Command<A = unknown> {
  /** What is typed behind the slash: 1–32 small letters, digits and _. */
  readonly name: string
  /** One line for help and for the lists of the platforms, 1–100 characters. */
  readonly summary: string
  /**
   * An object of texts, whole numbers and enumerations, in the order in which they are typed: those that may be left out last, and the last
   * text takes all that is left.
   */
  readonly args: CommandArgs
  /** Any one rule is enough; the account is the one that the sender is linked to. Enforced before the arguments are looked at. */
  readonly access: readonly Access[]
  /** What `owner()` means: as the parameters of a path, `{ id }`. */
  params?(args: A): Readonly<Record<string, string>>
  /**
   * It may run twice when a process dies in the middle, so what it does must be the same when done twice.
   * @returns what is answered: plain text, cut at what the platform takes
   */
  run(args: A, context: CommandContext): Promise<string>
  /**
   * Told what was typed behind it where others read it, too: as soon as it is received, before it waits for its turn, and also when it is
   * dropped as too much. For what must be of no use to others from then on. It may be told again.
   */
  overheard?(typed: string, by: { readonly platform: PlatformName; readonly id: string }): Promise<void>
}

export type CommandArgs = ReturnType<typeof Type.Object>
// biome-ignore lint/suspicious/noExplicitAny: a list of commands holds commands of every input
export type AnyCommand = Command<any>

export interface CommandContext {
  /** The account behind the sender, when there is one; its address is `telegram:` or `discord:` and the sender's id. */
  readonly asking: Asking
  readonly chat: {
    readonly platform: PlatformName
    readonly id: string
    /** Whether only the sender and the bot read it. */
    readonly isPrivate: boolean
  }
  readonly sender: { readonly id: string; readonly name: string }
  readonly signal: AbortSignal
  readonly log: Log
}

const namePattern = /^[a-z0-9_]{1,32}$/
const summaryMax = 100

/** What Discord takes, which asks for each by its name. */
const argsMax = 25
const choicesMax = 25
const choiceLengthMax = 100
const argumentPattern = /^[a-z][A-Za-z0-9_]*$/
const optionLengthMax = 32

/** @throws Error for a name, a summary or arguments that some platform does not take; it says what to do */
export function defineCommand<S extends CommandArgs>(command: Omit<Command<Of<S>>, 'args'> & { args: S }): AnyCommand {
  const { name, summary, args } = command
  if (!namePattern.test(name)) throw new Error(`the command ${JSON.stringify(name)} must be 1–32 small letters, digits and _`)
  if (summary.length === 0 || summary.length > summaryMax) throw new Error(`the summary of /${name} must have 1–${summaryMax} characters`)
  const fault = faultOf(Object.entries(args.properties))
  if (fault !== undefined) throw new Error(`/${name}: ${fault}`)
  return command
}

/** An argument by the name that platforms show, which has no capitals: `maxAge` is `max_age`. */
export const optionNameOf = (argument: string): string => argument.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)

function faultOf(args: readonly [name: string, schema: TSchema][]): string | undefined {
  if (args.length > argsMax) return `it has ${args.length} arguments; leave at most ${argsMax}`
  const options = args.map(([name]) => optionNameOf(name))
  for (const [i, [name, schema]] of args.entries()) {
    const option = options[i] as string
    if (!argumentPattern.test(name) || option.length > optionLengthMax)
      return `call the argument ${JSON.stringify(name)} by a small letter and then letters, digits and _, ${optionLengthMax} at most with a _ for each capital`
    if (options.indexOf(option) !== i) return `the argument ${name} is shown as ${option}, as another is; call it otherwise`
    const before = args[i - 1]
    if (before && isOptional(before[1]) && !isOptional(schema))
      return `put the argument ${name}, which must be said, before ${before[0]}, which may be left out`
    const kindFault = kindFaultOf(schema)
    if (kindFault !== undefined) return `the argument ${name} ${kindFault}`
  }
  return undefined
}

function kindFaultOf({ type, enum: values }: TSchema): string | undefined {
  if (type !== 'string' && type !== 'integer') return 'is no text, whole number or choice; make it Type.String, Type.Integer or OneOf'
  if (values === undefined) return undefined
  if (type !== 'string') return 'is a choice of numbers; make it OneOf texts'
  if (values.length > choicesMax) return `has ${values.length} choices; leave at most ${choicesMax}, or make it Type.String and check it`
  const bad = (values as string[]).find(value => value.length === 0 || value.length > choiceLengthMax)
  return bad === undefined ? undefined : `has the choice ${JSON.stringify(bad)}; give it 1–${choiceLengthMax} characters`
}

const tooOld = accessErrors.Proof().code

/**
 * What somebody may give of `all`, in its order, before anything is known of the arguments: also what may be found to be their own, and what
 * would need a proof that is younger, since whoever is told so can make one.
 */
export async function mayGive<C extends Pick<AnyCommand, 'access'>>(identity: Identity, all: readonly C[]): Promise<C[]> {
  const may = await Promise.all(
    all.map(async ({ access }) => {
      const refusal = await decide(identity, access, {})
      const mayBeOwn = identity.kind === 'user' && access.some(({ rule }) => rule === 'owner')
      return refusal === undefined || refusal.code === tooOld || mayBeOwn
    }),
  )
  return all.filter((_, i) => may[i])
}

/** All commands of the modules of this process, in the order of their names. Not to be asked while modules are wired. */
export interface Commands {
  all(): readonly AnyCommand[]
}
