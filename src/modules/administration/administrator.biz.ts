import { type Asking, type By, doneBy, isCommandLine } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import type { Database } from '@/core/database'
import { subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { Expected } from '@/core/store'
import { adminLogIn } from '@/core/throttle'
import { type AdminRoleBiz, permissionsOf } from '@/modules/admin-role'
import type { Administrator, AdministratorBiz, Invitation, InvitationBiz } from '@/modules/administrator'
import type { SecondFactorBiz } from '@/modules/second-factor'
import { refuseUnheld } from './holding.biz'
import { type Acceptance, type Accepted, administrationErrors, type MadeAdministrator, type NewAdministrator } from './schema'

/** What it writes into the audit log. */
export const administratorAudits = [
  'administrator.accept-invitation',
  'administrator.create',
  'administrator.delete',
  'administrator.invite',
  'administrator.restore',
  'administrator.set-password',
  'administrator.set-roles',
  'administrator.suspend',
] as const

export type AdministratorAdminBiz = ReturnType<typeof administratorAdminBiz>

/** Two who suspend each other must see each other. */
const serializable = { isolation: 'serializable' } as const

interface Neighbors {
  roles: Pick<AdminRoleBiz, 'ofIds'>
  administrators: AdministratorBiz
  invitations: InvitationBiz
  factors: Pick<SecondFactorBiz, 'removeAll'>
  audit: Pick<AuditLog<(typeof administratorAudits)[number]>, 'record'>
}

/** What one is about, and how it is said. */
interface Change {
  action: (typeof administratorAudits)[number]
  /** As the line of the log ends. */
  log: string
  endsSessions?: boolean
}

/** What administrators do with the accounts of administrators: with those who hold no more than they do. */
export function administratorAdminBiz({
  db,
  log,
  throttle,
  roles,
  administrators,
  invitations,
  factors,
  audit,
}: Pick<Ports, 'db' | 'log' | 'throttle'> & Neighbors) {
  /**
   * They choose their password with the invitation: nobody chooses it for them.
   * @returns the code, which nobody can be told again
   * @throws UsernameTaken, RoleUnknown, NotHeld
   */
  const create = ({ username, roleIds }: NewAdministrator, by: By): Promise<MadeAdministrator> =>
    make(username, roleIds, undefined, by, async (tx, administrator) => ({
      administrator,
      invitation: await invitations.mint(tx, administrator.id, makerOf(by)),
    }))

  /** By whoever sits at a terminal, as for the first one. @throws Invalid, PasswordWeak, UsernameTaken, RoleUnknown, NotHeld */
  async function createWithPassword(input: NewAdministrator & { password: string }, by: By): Promise<Administrator> {
    const passwordHash = await administrators.hashPassword(input.username, input.password)
    return make(input.username, input.roleIds, passwordHash, by, async (_, administrator) => administrator)
  }

  async function make<T>(
    username: string,
    roleIds: readonly string[],
    passwordHash: string | undefined,
    by: By,
    then: (tx: Database, made: Administrator) => Promise<T>,
  ): Promise<T> {
    const { made, answer } = await db.tx(async tx => {
      await refuseUnheld(tx, by, await permissionsIn(tx, roleIds), administrators)
      const made = await administrators.create(tx, { username, roleIds, ...(passwordHash !== undefined && { passwordHash }) })
      const answer = await then(tx, made)
      await audit.record(tx, doneBy(by), { ...entryOn('administrator.create', made.id), after: auditedFields(made) })
      return { made, answer }
    }, serializable)
    logged('an administrator was made', made.id, by)
    return answer
  }

  /** An invitation that they have is void: it was for who they were. @throws AdministratorNotFound, NotHeld, RoleUnknown, LastAdministrator, VersionMismatch */
  const setRoles = (id: string, roleIds: readonly string[], expected: Expected, by: By): Promise<Administrator> =>
    change(id, by, { action: 'administrator.set-roles', log: 'was given other roles' }, async tx => {
      await refuseUnheld(tx, by, await permissionsIn(tx, roleIds), administrators)
      await invitations.removeAll(tx, id)
      return administrators.setRoles(tx, id, roleIds, expected)
    })

  /** Who is suspended is logged out, and stays so when restored; an invitation that they have is void. @throws AdministratorNotFound, NotHeld, LastAdministrator */
  const suspend = (id: string, by: By): Promise<Administrator> =>
    change(id, by, { action: 'administrator.suspend', log: 'was suspended', endsSessions: true }, async tx => {
      await invitations.removeAll(tx, id)
      return administrators.setStatus(tx, id, 'suspended')
    })

  /** @throws AdministratorNotFound, NotHeld */
  const restore = (id: string, by: By): Promise<Administrator> =>
    change(id, by, { action: 'administrator.restore', log: 'was restored' }, tx => administrators.setStatus(tx, id, 'active'))

  /** For whoever has forgotten it, by somebody at a terminal. All sessions end. @throws AdministratorNotFound, NotHeld, PasswordWeak */
  async function setPassword(id: string, password: string, by: By): Promise<Administrator> {
    const passwordHash = await administrators.hashPassword((await administrators.get(id)).username, password)
    return change(id, by, { action: 'administrator.set-password', log: 'was given another password', endsSessions: true }, async tx => {
      await invitations.removeAll(tx, id)
      return administrators.setPassword(tx, id, passwordHash)
    })
  }

  /** With all that is theirs. @throws AdministratorNotFound, NotHeld, LastAdministrator, VersionMismatch */
  async function remove(id: string, expected: Expected, by: By): Promise<void> {
    await change(id, by, { action: 'administrator.delete', log: 'was deleted', endsSessions: true }, async tx => {
      await invitations.removeAll(tx, id)
      await factors.removeAll(tx, id)
      await administrators.remove(tx, id, expected)
      return undefined
    })
  }

  /**
   * A code with which somebody chooses a password: the first, if the invitation has expired, or another, if it is forgotten. The one that
   * they have is good until then.
   * @throws OwnInvitation, AdministratorNotFound, NotHeld
   */
  async function invite(id: string, by: By): Promise<Invitation> {
    if (makerOf(by) === id) throw administrationErrors.OwnInvitation()
    const invitation = await db.tx(async tx => {
      const administrator = await administrators.get(id, tx)
      await refuseUnheld(tx, by, administrator.permissions, administrators)
      const made = await invitations.mint(tx, id, makerOf(by))
      await audit.record(tx, doneBy(by), {
        ...entryOn('administrator.invite', id),
        after: { expiresAt: made.expiresAt },
      })
      return made
    }, serializable)
    logged('an administrator was invited to choose a password', id, by)
    return invitation
  }

  /**
   * All sessions end, since somebody else may have begun them. What a second factor is for stays. Whoever has made the code may have kept
   * it, so they still hold all that the administrator holds by now: else it would make them more than they are.
   * @throws InvitationInvalid, PasswordWeak
   */
  async function accept({ code, password }: Acceptance, { address, requestId }: Asking): Promise<Accepted> {
    const proven = await invitations.check(code)
    const { administratorId: id, makerId } = proven
    const { username } = await administrators.get(id)
    const passwordHash = await administrators.hashPassword(username, password)
    // Nobody has logged in; whoever has the code is the administrator.
    const by = { actor: subjectOf('admin', id), actorName: username, address, ...(requestId !== undefined && { requestId }) }
    await db.tx(async tx => {
      await invitations.spend(tx, proven)
      const { permissions } = await administrators.setPassword(tx, id, passwordHash)
      const lacking = makerId === undefined ? [] : await administrators.unheld(tx, makerId, permissions)
      if (lacking?.length !== 0) throw invitations.invalid()
      const after = { invitedBy: makerId === undefined ? 'commandLine' : subjectOf('admin', makerId) }
      await audit.record(tx, by, { ...entryOn('administrator.accept-invitation', id), after })
      await administrators.tell(tx, id, { endsSessions: true })
    }, serializable)
    // Whoever has the code is no guesser, though others guess at the account.
    await throttle.admit({ purpose: adminLogIn, account: username, address })
    log.info('an administrator has chosen a password', { ...by, object: subjectOf('admin', id) })
    return { username }
  }

  /** Of somebody who is there, by whoever holds all that they hold, before and after it. */
  async function change<T extends Administrator | undefined>(
    id: string,
    by: By,
    { action, log: ending, endsSessions = false }: Change,
    work: (tx: Database) => Promise<T>,
  ): Promise<T> {
    const changed = await db.tx(async tx => {
      const before = await administrators.get(id, tx)
      await refuseUnheld(tx, by, before.permissions, administrators)
      const after = await work(tx)
      const entry = { ...entryOn(action, id), before: auditedFields(before), ...(after && { after: auditedFields(after) }) }
      await audit.record(tx, doneBy(by), entry)
      await administrators.tell(tx, id, { endsSessions })
      return after
    }, serializable)
    logged(`an administrator ${ending}`, id, by)
    return changed
  }

  /** @throws RoleUnknown */
  async function permissionsIn(tx: Database, roleIds: readonly string[]): Promise<string[]> {
    const known = await roles.ofIds(roleIds, tx)
    const odd = roleIds.flatMap((id, i) => (known.some(role => role.id === id) ? [] : [i]))
    if (odd.length === 0) return permissionsOf(known)
    throw administrationErrors.RoleUnknown({ problems: odd.map(i => ({ pointer: `/roleIds/${i}`, detail: 'is no role' })) })
  }

  /** The command line says itself what it has done. */
  const logged = (what: string, id: string, by: By): void => {
    if (!isCommandLine(by)) log.info(what, { ...doneBy(by), object: subjectOf('admin', id) })
  }

  const reading = {
    list: administrators.list,
    get: (id: string) => administrators.get(id),
    all: administrators.all,
    named: administrators.named,
  }
  return { ...reading, create, createWithPassword, setRoles, suspend, restore, setPassword, remove, invite, accept }
}

/** Undefined for the command line, which may do everything, now and later. */
const makerOf = (by: By): string | undefined => ('identity' in by && by.identity.kind === 'admin' ? by.identity.id : undefined)

/** What the audit log says of one. */
const auditedFields = ({ username, status, roles }: Administrator) => ({ username, status, roles: roles.map(({ name }) => name) })
