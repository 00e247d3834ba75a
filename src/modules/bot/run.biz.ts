import { decide } from '@/core/access'
import { askedBy, type Asking } from '@/core/asking'
import type { AuditLog } from '@/core/audit'
import { asCaller, currentCaller } from '@/core/caller'
import { type AnyCommand, type CommandContext, mayGive } from '@/core/command'
import { withDeadline } from '@/core/deadline'
import { type AppError, defineErrors } from '@/core/error'
import { actorOf, type Identity } from '@/core/identity'
import type { Log } from '@/core/log'
import type { Ports } from '@/core/ports'
import { orAborted } from '@/core/wait'
import type { ChatUpdate, Said } from '@/modules/chat-update'
import { parseArguments } from './arguments'
import { plain } from './plain'
import { commandTimeoutMs } from './schema'
import { helpText, usageText } from './words'

/** Written as the servers write theirs. */
export const audits = ['access.refused'] as const

const runErrors = defineErrors({
  CommandTimeout: ['Timeout', 'The command takes too long. Send it again in a while, or ask for less.'],
})

export interface RunTools extends Pick<Ports, 'commands' | 'log' | 'clock'> {
  /** Whose account a sender has, as it is now. */
  identify(platform: ChatUpdate['platform'], senderId: string): Promise<Identity>
  /** What somebody is told who may not. */
  refusalIn(refusal: AppError): string
  audit: Pick<AuditLog<(typeof audits)[number]>, 'refused'>
}

/** One attempt at what came in. */
export interface Attempt {
  signal: AbortSignal
  log: Log
  requestId: string
}

/** What was done, and what the sender is told of it. */
export interface Outcome {
  /** Undefined for what is no command that there is. */
  command: string | undefined
  actor: string | undefined
  /** `ok`, or the code of the error. */
  code: string
  text: string
}

/** From what was said to what is answered: who it is, whether they may, what they mean, and then the command. Throws what commands throw. */
export function runBiz({ commands, log, clock, identify, refusalIn, audit }: RunTools) {
  async function run(update: ChatUpdate, said: Said, attempt: Attempt): Promise<Outcome> {
    const { platform, senderId } = update
    const identity = await identify(platform, senderId)
    const asking: Asking = { identity, address: `${platform}:${senderId}`, requestId: attempt.requestId }
    const actor = actorOf(identity)
    const command = said.command === undefined ? undefined : commands.all().find(({ name }) => name === said.command)
    if (!command) {
      const isUnknown = said.command !== undefined
      return { command: undefined, actor, code: 'ok', text: helpText(await mayGive(asking.identity, commands.all()), isUnknown) }
    }
    const outcome = { command: command.name, actor }
    const refuse = (error: AppError) => ({ ...outcome, code: error.code, text: refused(update, command, asking, error) })

    const mayBeOwn = command.params !== undefined && isOwnable(command, identity)
    const refusal = mayBeOwn ? undefined : await decide(identity, command.access, {})
    if (refusal) return refuse(refusal)
    const parsed = parseArguments(command, plain(said.input))
    if ('fault' in parsed) return { ...outcome, code: 'InvalidArgument.Usage', text: usageText(command, parsed.fault) }
    const notOwn = mayBeOwn && (await decide(identity, command.access, command.params?.(parsed.args) ?? {}))
    if (notOwn) return refuse(notOwn)

    const over = AbortSignal.timeout(commandTimeoutMs)
    const context: CommandContext = {
      asking,
      chat: { platform, id: update.chatId, isPrivate: said.isPrivate },
      sender: { id: senderId, name: plain(said.senderName).slice(0, senderNameMax) },
      signal: AbortSignal.any([attempt.signal, over]),
      log: attempt.log,
    }
    const caller = {
      ...currentCaller(),
      ...(actor !== undefined && { actor }),
      requestId: attempt.requestId,
      deadlineAtMs: clock.nowMs() + commandTimeoutMs,
    }
    const late = () => runErrors.CommandTimeout()
    const text = await asCaller(caller, () =>
      withDeadline(orAborted(command.run(parsed.args, context), attempt.signal), commandTimeoutMs, late),
    )
    return { ...outcome, code: 'ok', text }
  }

  function refused({ platform }: ChatUpdate, { name }: AnyCommand, asking: Asking, error: AppError): string {
    const { actor, address, requestId } = askedBy(asking)
    log.warn('access denied', {
      server: 'bot',
      requestId,
      platform,
      command: name,
      ...(actor !== undefined && { actor }),
      address,
      code: error.code,
    })
    if (asking.identity.kind === 'admin')
      audit.refused(askedBy(asking), { action: 'access.refused', object: `/${name}`, reason: error.code }, async () => ({}))
    return refusalIn(error)
  }

  /** What it is called, when there is such a command. */
  const nameOf = ({ command }: Said) => commands.all().find(({ name }) => name === command)?.name

  return Object.assign(run, { nameOf })
}
export type Run = ReturnType<typeof runBiz>

const senderNameMax = 100

/** Whose it is can be told only with the arguments. */
const isOwnable = ({ access }: AnyCommand, { kind }: Identity) => kind === 'user' && access.some(({ rule }) => rule === 'owner')
