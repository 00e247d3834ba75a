import { afterAll, beforeAll, beforeEach } from 'bun:test'
import type { Asking, CommandLine } from '@/core/asking'
import type { Database } from '@/core/database'
import type { Permission } from '@/core/permission'
import type { OpenDatabase } from '@/infra/database/driver'
import { createPasswords } from '@/infra/passwords'
import { adminRoleBiz } from '@/modules/admin-role/biz'
import { rootRoleId } from '@/modules/admin-role'
import { adminRoleStore } from '@/modules/admin-role/store'
import { administratorAdminBiz } from '@/modules/administration/administrator.biz'
import { roleBiz } from '@/modules/administration/role.biz'
import { administratorBiz } from '@/modules/administrator/biz'
import { invitationBiz } from '@/modules/administrator/invitation.biz'
import { administratorStore, invitationStore } from '@/modules/administrator/store'
import type { Backing } from './backings'
import { openAgain } from './conformance/fixture'
import { fakeAudit, fakeLog, fakeMetrics, fakeThrottle } from './fakes'
import { useMigrated } from './migrated'

export const password = 'correct horse battery'
/** Of whoever sits where the database is. */
export const operator: CommandLine = { kind: 'commandLine', actor: { actor: 'commandLine', actorName: 'op', address: 'host' } }
const permissions: Permission[] = ['users:read', 'users:write', 'roles:write', 'admins:write'].map(name => ({ name, summary: name }))

/** Two processes on one database with all that administrators do with each other; each test begins with nobody, and the role root alone. */
export function useAdministrators(open: () => Promise<Backing>) {
  const scene = useMigrated(open, ['administrator', 'administratorInvitation'])
  const other = {} as { db: OpenDatabase }
  beforeAll(async () => {
    other.db = await openAgain(scene.backing)
  })
  afterAll(() => other.db.close())
  const clock = { ms: Date.parse('2026-01-31T09:05:00.000Z'), nowMs: () => clock.ms }
  const told: string[] = []
  const audit = fakeAudit()
  const throttle = fakeThrottle()
  beforeEach(async () => {
    await scene.db.run('delete from "adminRole" where "id" <> ?', [rootRoleId])
    told.length = 0
    audit.events.length = 0
  })

  function processOn(db: Database) {
    const log = fakeLog()
    const sessions = {
      endAll: async (_: Database, realm: string, id: string) => {
        told.push(`end ${realm} ${id}`)
        return 0
      },
    }
    const revocations = { forget: async (_: Database, subjects: readonly string[]) => void told.push(...subjects) }
    const passwords = createPasswords({ concurrency: 2, queueLimit: 10 }, fakeMetrics())
    const adminRoles = adminRoleBiz({ db, permissions, roles: adminRoleStore })
    const administrators = administratorBiz({ db, passwords, revocations, administrators: administratorStore, roles: adminRoles, sessions })
    const invitations = invitationBiz({ db, clock, invitations: invitationStore })
    const factors = {
      removeAll: async (_: Database, id: string) => {
        told.push(`no factor ${id}`)
        return true
      },
    }
    const accounts = administratorAdminBiz({ db, log, throttle, roles: adminRoles, administrators, invitations, factors, audit })
    const roles = roleBiz({ db, log, permissions, revocations, roles: adminRoles, administrators, audit })

    /** Somebody with these permissions, by a role of their own, or with the role root. */
    async function somebody(username: string, granted: readonly string[] | 'root') {
      const role =
        granted === 'root' ? { id: rootRoleId } : await roles.create({ name: `of-${username}`, permissions: [...granted] }, operator)
      const made = await accounts.createWithPassword({ username, password, roleIds: [role.id] }, operator)
      return { ...made, roleId: role.id, asking: askingAs(made.id, username) }
    }
    return { accounts, roles, administrators, somebody, log }
  }

  return { scene, other, told, audit, throttle, clock, processOn }
}

/** As the server would say of them: what they may do is looked up where it matters. */
const askingAs = (id: string, username: string): Asking => ({
  identity: { kind: 'admin', id, username, sessionId: 'a session', permissions: new Set(['*']), provenUntilMs: Number.POSITIVE_INFINITY },
  address: '192.0.2.1',
  requestId: 'r1',
})
