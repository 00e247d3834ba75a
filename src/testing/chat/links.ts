import { rootRoleId } from '@/modules/admin-role'
import { adminRoleBiz } from '@/modules/admin-role/biz'
import { adminRoleStore } from '@/modules/admin-role/store'
import { administratorBiz } from '@/modules/administrator/biz'
import { administratorStore } from '@/modules/administrator/store'
import { chatLinkRecordBiz } from '@/modules/chat-link-record/biz'
import { chatLinkCodeStore, chatLinkStore } from '@/modules/chat-link-record/store'
import { chatLinkBiz } from '@/modules/chat-link/biz'
import { chatIdentity } from '@/modules/chat-link/identity.biz'
import type { AdminIdentity } from '@/core/identity'
import { userStore } from '@/modules/user/store'
import { accountsOn, settingsOf } from '../accounts'
import type { Backing } from '../backings'
import { fakeAudit, fakePasswords, fakeRevocations, fakeThrottle, testCipher } from '../fakes'
import { adminCalled } from '../identities'
import { useMigrated } from '../migrated'

export const password = 'correct horse battery'
const emptied = ['user', 'userMessage', 'administrator', 'chatLink', 'chatLinkCode']

/** Users and administrators on a database of their own, and what ties chat accounts to them; sessions are those that are said to be there. */
export function useChatLinks(open: () => Promise<Backing>) {
  const scene = useMigrated(open, emptied)

  /** @param options `isChanged`: an account changes as soon as its password was checked */
  function setUp({ secondFactor = 'optional' as 'optional' | 'required', isChanged = false } = {}) {
    const { db } = scene
    const clock = { ms: Date.parse('2026-01-31T09:05:00.000Z'), nowMs: () => clock.ms }
    const settings = { admin: { ...settingsOf().admin, secondFactor } }
    const { users, accounts, log, queue } = accountsOn(db, { clock })
    const roles = adminRoleBiz({ db, permissions: [], roles: adminRoleStore })
    const administrators = administratorBiz({
      ...{ db, roles, administrators: administratorStore, passwords: fakePasswords(), revocations: fakeRevocations() },
      sessions: { endAll: async () => 0 },
    })
    const [audit, throttle] = [fakeAudit(), fakeThrottle()]
    const chatLinkRecords = chatLinkRecordBiz({ db, clock, cipher: testCipher, links: chatLinkStore, codes: chatLinkCodeStore })
    const ended = new Set<string>()
    const sessions = { isThere: async (...[, , , id]: [unknown, unknown, string, string]) => !ended.has(id) }
    const confirmPassword: typeof users.confirmPassword = async (...given) => {
      const confirmed = await users.confirmPassword(...given)
      if (isChanged) await userStore(db).update(confirmed.id, { nickname: 'another' })
      return confirmed
    }
    const biz = chatLinkBiz({
      db,
      clock,
      log,
      throttle,
      settings,
      chatLinkRecords,
      users: { ...users, confirmPassword },
      administrators,
      sessions,
      audit,
    })
    const factors = new Map<string, string>()
    const identify = chatIdentity({ settings, chatLinkRecords, users, administrators, factors: { idOf: async id => factors.get(id) } })

    const signUp = (username: string) => users.signUp({ username, email: `${username}@example.com`, password })
    const userCode = async (id: string) =>
      (await biz.createCode(id, { currentPassword: password }, { identity: { kind: 'user', id, sessionId: 's' }, address: '192.0.2.1' }))
        .code
    /** With the role root, whose proof is as old as is said. */
    async function administrator(username: string, provenForMs = settings.admin.provenMs): Promise<AdminIdentity> {
      const { id } = await administratorStore(db).create({ username, status: 'active', roleIds: [rootRoleId] })
      return { ...adminCalled(id), username, provenUntilMs: clock.ms + provenForMs }
    }
    const adminCode = async (identity: AdminIdentity) => (await biz.createAdminCode(identity, { identity, address: '192.0.2.1' })).code
    const told = { log, queue, audit, throttle, ended, factors }
    return {
      biz,
      identify,
      chatLinkRecords,
      users,
      accounts,
      administrators,
      clock,
      settings,
      signUp,
      userCode,
      administrator,
      adminCode,
      ...told,
    }
  }

  return { scene, setUp }
}
