import { type Clock, systemClock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Passwords } from '@/core/passwords'
import type { ModuleSettings } from '@/core/ports'
import type { OpenDatabase } from '@/infra/database/driver'
import { accountBiz } from '@/modules/account/biz'
import { apiKeyBiz } from '@/modules/api-key/biz'
import { apiKeyStore } from '@/modules/api-key/store'
import type { AdministratorBiz } from '@/modules/administrator'
import { userBiz } from '@/modules/user/biz'
import { userMessageStore, userStore } from '@/modules/user/store'
import { userCodeBiz } from '@/modules/user-code/biz'
import { userCodeStore } from '@/modules/user-code/store'
import {
  fakeAudit,
  fakeLiveSettings,
  fakeLog,
  fakeMailer,
  fakePasswords,
  fakeQueue,
  fakeRevocations,
  fakeThrottle,
  testCipher,
} from './fakes'

export interface AccountsOptions {
  clock?: Clock
  passwords?: Passwords
  signUp?: ModuleSettings['account']['signUp']
  publicUrl?: string
  /** Absent: administrators hold everything. */
  administrators?: Pick<AdministratorBiz, 'unheld'>
}

export const settingsOf = ({ signUp = 'open', publicUrl }: Pick<AccountsOptions, 'signUp' | 'publicUrl'> = {}): ModuleSettings => ({
  account: { signUp },
  http: publicUrl === undefined ? {} : { publicUrl },
  session: { idleTtlMs: 1000, ttlMs: 1000, graceMs: 0, perAccountMax: 20 },
  admin: { secondFactor: 'optional', provenMs: 900_000, auditKeptMs: 31_536_000_000 },
  auth: { issuer: 'bingo' },
})

/** All that has to do with accounts on one database, with fakes for what leaves the machine. Sessions are counted as they end. */
export function accountsOn(db: Database, options: AccountsOptions = {}) {
  const { clock = systemClock, passwords = fakePasswords() } = options
  const [queue, mailer, log, revocations, throttle] = [fakeQueue(), fakeMailer(), fakeLog(), fakeRevocations(), fakeThrottle()]
  const told = { queue, mailer, log, revocations, throttle }
  const liveSettings = fakeLiveSettings({ signUp: options.signUp })
  const ports = { db, clock, passwords, cipher: testCipher, settings: settingsOf(options), liveSettings, ...told }
  const ended: { accountId: string; except: string | undefined }[] = []
  const sessions = {
    async endAll(_: Database, _realm: string, accountId: string, { except }: { except?: string } = {}) {
      ended.push({ accountId, except })
      return 0
    },
    activity: async () => ({ count: 0 }),
  }
  const audit = fakeAudit()
  const codes = userCodeBiz({ ...ports, codes: userCodeStore })
  const users = userBiz({ ...ports, users: userStore, sent: userMessageStore, codes })
  const { administrators = { unheld: async () => [] } } = options
  const keys = apiKeyBiz({ ...ports, keys: apiKeyStore, users, administrators, audit })
  const accounts = accountBiz({ ...ports, users, codes, sessions, keys, audit })
  return { ...told, ended, audit, codes, users, keys, accounts }
}

/** The database, with what is read from it written down. */
export function noting(db: OpenDatabase): { db: OpenDatabase; statements: string[] } {
  const statements: string[] = []
  const noted = {
    ...db,
    first(...asked: Parameters<Database['first']>) {
      statements.push(asked[0])
      return db.first(...asked)
    },
    all(...asked: Parameters<Database['all']>) {
      statements.push(asked[0])
      return db.all(...asked)
    },
  }
  return { db: noted, statements }
}
