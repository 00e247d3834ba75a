import { addressOf } from './address'
import type { Actor } from './audit'
import { identityOf } from './guard'
import { actorOf, type Identity } from './identity'

/** Who asks for something, and from where. */
export interface Asking {
  identity: Identity
  address: string
  requestId?: string | undefined
}

/** Of a request, for biz that decides by it or logs it. */
export const askingOf = (request: Request): Asking => ({
  identity: identityOf(request),
  address: addressOf(request),
  requestId: (request as { requestId?: string }).requestId,
})

/** Whether somebody asks for what is their own: a user, or a program with a key of theirs. */
export const isOwn = ({ identity }: Asking, userId: string): boolean =>
  (identity.kind === 'user' && identity.id === userId) || (identity.kind === 'apiKey' && identity.userId === userId)

/** As it stands in the line of the log that says what was done, and in the audit log. */
export const askedBy = ({ identity, address, requestId }: Asking): Actor => ({
  actor: actorOf(identity),
  ...(identity.kind === 'admin' && { actorName: identity.username }),
  address,
  ...(requestId !== undefined && { requestId }),
})

/** Whoever sits where the database is, who may do everything. Only the command line makes one: a request never does. */
export interface CommandLine {
  readonly kind: 'commandLine'
  /** As it stands in the audit log. */
  readonly actor: Actor
}

/**
 * Who does something, where permissions are decided: whoever asks for it in a request, who may do what they hold, or the command line.
 * An `Actor` is neither: it says whom the log is to name, and nothing of what they may do.
 */
export type By = Asking | CommandLine

export const isCommandLine = (by: By): by is CommandLine => 'kind' in by && by.kind === 'commandLine'

/** For the line of the log and the audit log, as `askedBy`. */
export const doneBy = (by: By): Actor => (isCommandLine(by) ? by.actor : askedBy(by))
