import { canonicalName } from '@/core/account-name'
import type { Database } from '@/core/database'
import { subjectOf } from '@/core/identity'
import { refuseWeak, strictWeakness } from '@/core/password-rules'
import { renewHash } from '@/core/passwords'
import { everything } from '@/core/permission'
import type { Ports } from '@/core/ports'
import { faultsOf, isUuid, type PageQuery } from '@/core/schema'
import type { Expected, Patch, Where } from '@/core/store'
import { type AdminRole, type AdminRoleBiz, permissionsOf, rootRoleId } from '@/modules/admin-role'
import type { SessionBiz } from '@/modules/session'
import {
  type Administrator,
  administratorErrors,
  type AdministratorPage,
  type AdministratorRow,
  administrators as table,
  Password,
  type Status,
} from './schema'
import type { administratorStore } from './store'

export type AdministratorBiz = ReturnType<typeof administratorBiz>

const primary = { from: 'primary' } as const

interface Neighbors {
  administrators: typeof administratorStore
  roles: Pick<AdminRoleBiz, 'ofIds'>
  sessions: Pick<SessionBiz, 'endAll'>
}

/** Which administrators are asked for. */
export interface AdministratorQuery extends PageQuery {
  status?: Status
  /** What a username begins with; or a whole id. */
  search?: string
}

/** What is there of a new one. Without a password nobody logs in as it. */
export interface NewAdministrator {
  username: string
  roleIds: readonly string[]
  passwordHash?: string
}

/**
 * Administrators: accounts of their own, which no user becomes. The first is made on the command line, where whoever may read the database
 * sits; there is none before. Who may change one is decided by the module administration, in whose transactions it is changed here.
 */
export function administratorBiz({
  db,
  administrators,
  passwords,
  revocations,
  roles,
  sessions,
}: Pick<Ports, 'db' | 'passwords' | 'revocations'> & Neighbors) {
  /** The newest first; in the order of names, where something is searched for. */
  async function list({ status, search = '', ...page }: AdministratorQuery): Promise<AdministratorPage> {
    const { where, orderBy } = searched(canonicalName(search))
    const { items, nextPageToken } = await administrators(db).list({ ...page, where: { ...where, ...(status && { status }) }, orderBy })
    return { items: await views(items), nextPageToken }
  }

  /** Also beyond the first page, in the order of their names: for the command line. */
  async function all(): Promise<Administrator[]> {
    const rows: AdministratorRow[] = []
    for await (const row of administrators(db).iterate(primary)) rows.push(row)
    return (await views(rows)).toSorted((a, b) => (a.username < b.username ? -1 : 1))
  }

  /** Whether anybody can log in. */
  const isAnyThere = (): Promise<boolean> => administrators(db).exists({ status: 'active', passwordHash: { isNull: false } }, primary)

  /** As it is at this moment; undefined when it is gone. @param on the `tx`, where one asks in a transaction */
  async function current(id: string, on: Database = db): Promise<Administrator | undefined> {
    const row = await administrators(on).get(id, primary)
    return row && view(row, on)
  }

  /** @throws AdministratorNotFound */
  async function get(id: string, on?: Database): Promise<Administrator> {
    const administrator = await current(id, on)
    if (!administrator) throw administratorErrors.AdministratorNotFound()
    return administrator
  }

  /** @throws AdministratorNotFound */
  const named = async (username: string): Promise<Administrator> =>
    view(found(await administrators(db).find({ username: canonicalName(username) }, primary)))

  /** Whose name it is: one query, whether it is anybody's or not. */
  const idNamed = async (username: string): Promise<string | undefined> =>
    (await administrators(db).find({ username: canonicalName(username) }, { ...primary, select: ['id'] }))?.id

  /**
   * Whose password it is, suspended or not. It takes as long for a name that nobody has, or one without a password, and counts nothing.
   * @throws Unavailable when too many passwords are being checked
   */
  async function verifyPassword(username: string, password: string): Promise<Administrator | undefined> {
    const row = await administrators(db).find({ username: canonicalName(username) }, primary)
    const isRight = await passwords.verify(password, row?.passwordHash)
    if (!row?.passwordHash || !isRight) return undefined
    await renewHash(passwords, administrators(db), { ...row, passwordHash: row.passwordHash }, password)
    return view(row)
  }

  /** For the calls below, since it takes too long for a transaction. @throws Invalid, PasswordWeak, Unavailable */
  async function hashPassword(username: string, password: string): Promise<string> {
    refuseFaults(faultsOf(Password, password).map(fault => ({ ...fault, pointer: '/password' })))
    refuseWeak(strictWeakness(password, { username: canonicalName(username) }))
    return passwords.hash(password)
  }

  /** @throws Invalid, UsernameTaken */
  async function create(tx: Database, { username: given, roleIds, passwordHash }: NewAdministrator): Promise<Administrator> {
    const username = canonicalName(given)
    refuseFaults(faultsOf(table.schema.properties.username, username).map(fault => ({ ...fault, pointer: '/username' })))
    const row = { username, status: 'active' as const, roleIds: [...roleIds] }
    return view(await administrators(tx).create(passwordHash === undefined ? row : { ...row, passwordHash }), tx)
  }

  /** Open sessions may do less, or more, once `tell` was called. @throws AdministratorNotFound, LastAdministrator, VersionMismatch */
  const setRoles = (tx: Database, id: string, roleIds: readonly string[], expected: Expected = {}): Promise<Administrator> =>
    change(tx, id, { roleIds: [...roleIds] }, expected)

  /** @throws AdministratorNotFound, LastAdministrator */
  const setStatus = (tx: Database, id: string, status: Status): Promise<Administrator> => change(tx, id, { status })

  /** @param passwordHash of `hashPassword`. @throws AdministratorNotFound, VersionMismatch */
  const setPassword = (tx: Database, id: string, passwordHash: string, expected: Expected = {}): Promise<Administrator> =>
    change(tx, id, { passwordHash }, expected)

  /** @throws AdministratorNotFound, LastAdministrator, VersionMismatch */
  async function remove(tx: Database, id: string, expected: Expected = {}): Promise<void> {
    const before = found(await administrators(tx).get(id, primary))
    if (!(await administrators(tx).delete(id, expected))) throw administratorErrors.AdministratorNotFound()
    await refuseUnmanaged(tx, before)
  }

  async function change(tx: Database, id: string, patch: Patch<AdministratorRow>, expected: Expected = {}): Promise<Administrator> {
    const before = found(await administrators(tx).get(id, primary))
    const row = found(await administrators(tx).update(id, patch, expected))
    await refuseUnmanaged(tx, before)
    return view(row, tx)
  }

  /** Somebody has to be left who may do everything, and can log in; in a serializable transaction two who demote each other see each other. */
  async function refuseUnmanaged(tx: Database, before: AdministratorRow): Promise<void> {
    if (!isManaging(before)) return
    for await (const row of administrators(tx).iterate({ where: { status: 'active' } })) if (isManaging(row)) return
    throw administratorErrors.LastAdministrator()
  }

  /** @param roleId of a role that is to be deleted */
  async function isHeld(tx: Database, roleId: string): Promise<boolean> {
    for await (const { roleIds } of administrators(tx).iterate({ select: ['roleIds'] })) if (roleIds.includes(roleId)) return true
    return false
  }

  /**
   * What of this somebody does not hold at this moment, in the transaction that hands it on: what a request was let in with may be two
   * seconds old.
   * @returns undefined of who is no active administrator any more, and so hands on nothing, be it nothing that they hand on
   */
  async function unheld(tx: Database, id: string, wanted: readonly string[]): Promise<string[] | undefined> {
    const own = await current(id, tx)
    if (own?.status !== 'active') return undefined
    const held = new Set(own.permissions)
    return held.has(everything) ? [] : [...new Set(wanted)].filter(permission => !held.has(permission))
  }

  /**
   * Tells all processes that somebody has changed. The last call of the transaction.
   * @param options `endsSessions`: whoever is logged in as them is not any more, but in the session `except`
   */
  async function tell(tx: Database, id: string, options: { endsSessions?: boolean; except?: string } = {}): Promise<void> {
    const { endsSessions = false, except } = options
    if (endsSessions) await sessions.endAll(tx, 'admin', id, except === undefined ? {} : { except })
    await revocations.forget(tx, [subjectOf('admin', id)])
  }

  const view = async (row: AdministratorRow, on?: Database): Promise<Administrator> => viewOf(row, await roles.ofIds(row.roleIds, on))

  async function views(rows: readonly AdministratorRow[]): Promise<Administrator[]> {
    const known = await roles.ofIds([...new Set(rows.flatMap(({ roleIds }) => roleIds))])
    return rows.map(row =>
      viewOf(
        row,
        known.filter(({ id }) => row.roleIds.includes(id)),
      ),
    )
  }

  const reading = { list, all, isAnyThere, current, get, named, idNamed, isHeld, unheld }
  return { ...reading, verifyPassword, hashPassword, create, setRoles, setStatus, setPassword, remove, tell }
}

function searched(text: string): { where: Where<AdministratorRow>; orderBy: string } {
  if (text === '') return { where: {}, orderBy: 'id desc' }
  return isUuid(text) ? { where: { id: text }, orderBy: 'id desc' } : { where: { username: { prefix: text } }, orderBy: 'username' }
}

const isManaging = ({ status, roleIds, passwordHash }: AdministratorRow): boolean =>
  status === 'active' && passwordHash !== undefined && roleIds.includes(rootRoleId)

function refuseFaults(problems: ReturnType<typeof faultsOf>): void {
  if (problems.length > 0) throw administratorErrors.Invalid({ problems })
}

function found(row: AdministratorRow | undefined): AdministratorRow {
  if (!row) throw administratorErrors.AdministratorNotFound()
  return row
}

function viewOf(row: AdministratorRow, roles: readonly AdminRole[]): Administrator {
  const { id, username, status, passwordHash, createdAt, updatedAt, version } = row
  const named = roles.map(role => ({ id: role.id, name: role.name })).toSorted((a, b) => (a.name < b.name ? -1 : 1))
  return {
    ...{ id, username, status, hasPassword: passwordHash !== undefined, roles: named, permissions: permissionsOf(roles) },
    ...{ createdAt, updatedAt, version },
  }
}
