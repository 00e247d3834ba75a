import { canonicalName } from '@/core/account-name'
import type { Database } from '@/core/database'
import { subjectOf } from '@/core/identity'
import { refuseWeak, strictWeakness } from '@/core/password-rules'
import { renewHash } from '@/core/passwords'
import type { Ports } from '@/core/ports'
import { faultsOf } from '@/core/schema'
import type { Patch } from '@/core/store'
import type { SessionBiz } from '@/modules/session'
import {
  type Administrator,
  administratorErrors,
  type AdministratorRow,
  everything,
  NewAdministrator,
  Password,
  type Status,
} from './schema'
import type { administratorStore } from './store'

export type AdministratorBiz = ReturnType<typeof administratorBiz>

const primary = { from: 'primary' } as const

/**
 * Administrators: accounts of their own, which no user becomes. The first is made on the command line, where whoever may read the database
 * sits; there is none before. What changes one takes effect in all processes within `revocationMaxMs`.
 */
export function administratorBiz({
  db,
  administrators,
  passwords,
  revocations,
  sessions,
}: Pick<Ports, 'db' | 'passwords' | 'revocations'> & { administrators: typeof administratorStore; sessions: Pick<SessionBiz, 'endAll'> }) {
  async function create(input: NewAdministrator): Promise<Administrator> {
    const username = canonicalName(input.username)
    refuseFaults(faultsOf(NewAdministrator, { ...input, username }))
    refuseWeak(strictWeakness(input.password, { username }))
    await administrators(db).refuseTaken({ username })
    const passwordHash = await passwords.hash(input.password)
    return view(await administrators(db).create({ username, passwordHash, status: 'active', permissions: input.permissions }))
  }

  async function list(): Promise<Administrator[]> {
    const all: Administrator[] = []
    for await (const row of administrators(db).iterate(primary)) all.push(view(row))
    return all.toSorted((a, b) => (a.username < b.username ? -1 : 1))
  }

  const isAnyThere = (): Promise<boolean> => administrators(db).exists({ status: 'active' }, primary)

  /** As it is at this moment; undefined when it is gone. */
  async function current(id: string): Promise<Administrator | undefined> {
    const row = await administrators(db).get(id, primary)
    return row && view(row)
  }

  /** @throws AdministratorNotFound */
  async function named(username: string): Promise<Administrator> {
    return view(found(await administrators(db).find({ username: canonicalName(username) }, primary)))
  }

  /**
   * Whose password it is, suspended or not. It takes as long for a name that nobody has, and counts nothing.
   * @throws Unavailable when too many passwords are being checked
   */
  async function verifyPassword(username: string, password: string): Promise<Administrator | undefined> {
    const row = await administrators(db).find({ username: canonicalName(username) }, primary)
    const isRight = await passwords.verify(password, row?.passwordHash)
    if (!row || !isRight) return undefined
    await renewHash(passwords, administrators(db), row, password)
    return view(row)
  }

  /** What a session could do before, it cannot after. @throws AdministratorNotFound, LastAdministrator */
  const setPermissions = (id: string, permissions: readonly string[]): Promise<Administrator> =>
    change(id, { permissions: [...permissions] })

  /** Who is suspended is logged out, and stays so when restored. @throws AdministratorNotFound, LastAdministrator */
  const setStatus = (id: string, status: Status): Promise<Administrator> => change(id, { status }, { endsSessions: status === 'suspended' })

  /** For whoever has forgotten it, by somebody on the command line. All sessions end. @throws AdministratorNotFound */
  async function setPassword(id: string, password: string): Promise<Administrator> {
    refuseFaults(faultsOf(Password, password).map(fault => ({ ...fault, pointer: '/password' })))
    refuseWeak(strictWeakness(password, found(await administrators(db).get(id, primary))))
    const passwordHash = await passwords.hash(password)
    return change(id, { passwordHash }, { endsSessions: true })
  }

  const change = (id: string, patch: Patch<AdministratorRow>, { endsSessions = false } = {}): Promise<Administrator> =>
    db.tx(
      async tx => {
        const before = found(await administrators(tx).get(id, primary))
        const row = found(await administrators(tx).update(id, patch))
        if (mayAll(before) && !(await isManaged(tx))) throw administratorErrors.LastAdministrator()
        if (endsSessions) await sessions.endAll(tx, 'admin', id)
        await revocations.forget(tx, [subjectOf('admin', id)])
        return view(row)
      },
      // Two who suspend each other must see each other.
      { isolation: 'serializable' },
    )

  /** Whether somebody is left who may do everything. */
  async function isManaged(tx: Database): Promise<boolean> {
    for await (const row of administrators(tx).iterate({ where: { status: 'active' } })) if (mayAll(row)) return true
    return false
  }

  return { create, list, isAnyThere, current, named, verifyPassword, setPermissions, setStatus, setPassword }
}

const mayAll = ({ status, permissions }: AdministratorRow): boolean => status === 'active' && permissions.includes(everything)

function refuseFaults(problems: ReturnType<typeof faultsOf>): void {
  if (problems.length > 0) throw administratorErrors.Invalid({ problems })
}

function found(row: AdministratorRow | undefined): AdministratorRow {
  if (!row) throw administratorErrors.AdministratorNotFound()
  return row
}

function view({ id, username, status, permissions, createdAt, updatedAt, version }: AdministratorRow): Administrator {
  return { id, username, status, permissions, createdAt, updatedAt, version }
}
