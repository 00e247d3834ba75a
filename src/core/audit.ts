import type { Database } from './database'

/*
 * Which way something gets into the audit log:
 *
 * | what it is                                             | by                                                                         |
 * | ------------------------------------------------------ | -------------------------------------------------------------------------- |
 * | a change in a transaction of ours                      | `record`, in that transaction                                              |
 * | a change elsewhere (Redis), something that leaves (a   | `note`, before it is done; and when it fails, once more as `failed`        |
 * | file), a refusal                                       |                                                                            |
 * | all that a port changes                                | a decorator of the port, so that the command line and the admin server     |
 * |                                                        | write the same: `auditedQueues` (notes), `auditedSchedules` (records)      |
 * | what a module for several callers does, for one alone  | a witness, which the module tells: `Witness` of module session,            |
 * |                                                        | `DenialWitness` of the servers                                             |
 */

/** Who has done something, from where, in which request: see `askedBy`, and `commandLineActor` of the command line. It gives no power. */
export interface Actor {
  /** `admin:0192…`, `user:0192…`; undefined for those whom nobody knows. */
  actor: string | undefined
  /** What administrators call the actor at that moment: a username. Absent where it is not at hand. */
  actorName?: string | undefined
  address: string
  requestId?: string | undefined
}

/** What has happened to what. No password, token, key or code is in it. */
export interface AuditEntry<Action extends string = string> {
  /** A noun and a verb: `user.suspend`, `admin-session.create`. What goes is `delete`d. */
  action: Action
  /**
   * What it was done to: the noun of the action with an id or a name, `user:0192…`, `setting:signUp`, which `entryOn` says. Others are
   * `queue:mail` of many of its tasks, `administrator:0192…` of a log-in that is refused, and the route of a request that is. Absent where it
   * is everything, or nothing.
   */
  object?: string | undefined
  /** What of it has changed, as it was; without secrets. Cut when it is long. */
  before?: object | undefined
  /** The same, as it is now. */
  after?: object | undefined
  /** `done` when absent. `refused` is what somebody was not let do, `failed` what was begun and has not come to its end. */
  outcome?: AuditOutcome
  /** Why, where it was refused or has failed: the code of the error. */
  reason?: string | undefined
}

/** What is done to one thing: whoever reads the action knows how its object is spelled. */
export const entryOn = <const Action extends string>(action: Action, id: string): { action: Action; object: string } => ({
  action,
  object: `${action.slice(0, action.indexOf('.'))}:${id}`,
})

export const auditOutcomes = ['done', 'refused', 'failed'] as const
export type AuditOutcome = (typeof auditOutcomes)[number]

/**
 * What every module that changes something for an administrator uses of the module audit-event.
 * @typeParam Action those that the module declares in its `audits`: a compiler refuses others
 */
export interface AuditLog<Action extends string> {
  /**
   * Writes down what is done in the transaction that does it: both are kept, or neither. Call it after the change and before
   * `revocations.forget`, since transactions that write down something wait for each other from there on. What locks sessions comes after
   * it, too: all lock in the order account, audit log, sessions, revocations, so that no two wait for each other.
   */
  record(tx: Database, by: Actor, entry: AuditEntry<Action>): Promise<void>
  /**
   * Writes down, in a transaction of its own, what no transaction of ours does: a refusal, or a change that is kept elsewhere.
   * Such a change is noted before it is made, so that none is without its line; when it fails, that is noted too.
   * @throws Unavailable when it could not be written; whatever it is about must not be done then
   */
  note(by: Actor, entry: AuditEntry<Action>): Promise<void>
  /**
   * Writes down a refusal that nobody waits for, so that how long an answer takes tells nothing of what is written. It never throws: what
   * cannot be written is logged.
   * @param more looked up only where the refusal is written down, which of a flood is not so
   */
  refused(by: Actor, entry: Omit<AuditEntry<Action>, 'outcome'>, more: () => Promise<Pick<AuditEntry, 'object'>>): void
}
