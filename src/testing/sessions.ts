import { afterAll, beforeAll, beforeEach } from 'bun:test'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import type { Subject } from '@/core/identity'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { chatLinkRecordBiz } from '@/modules/chat-link-record/biz'
import { chatLinkCodeStore, chatLinkStore } from '@/modules/chat-link-record/store'
import { sessionBiz } from '@/modules/session/biz'
import { sessionStore } from '@/modules/session/store'
import { settingsOf } from './accounts'
import type { Backing } from './backings'
import { openAgain } from './conformance/fixture'
import { type FakeLog, fakeLog, testCipher } from './fakes'
import { type SetClock, setClock, tokensOn } from './tokens'

export const sessionDefaults: Config['session'] = { idleTtlMs: 14 * 86_400_000, ttlMs: 90 * 86_400_000, graceMs: 10_000, perAccountMax: 20 }
export const device = { userAgent: 'curl/8', address: '192.0.2.1' }

/** Two processes on one database, whose clock is set. */
export interface SessionScene {
  db: OpenDatabase
  other: OpenDatabase
  clock: SetClock
  /** Of both processes. */
  log: FakeLog
  /** What the processes were told to forget, in the order of the commits. */
  forgotten: Subject[]
  /** Sessions as a process has them. */
  on(db: Database, rules?: Partial<Config['session']>, rootKey?: Uint8Array): ReturnType<typeof sessionBiz>
  rowCount(): Promise<number>
}

export function useSessions(open: () => Promise<Backing>): SessionScene {
  const scene = {} as SessionScene
  let backing: Backing
  beforeAll(async () => {
    backing = await open()
    scene.db = await openAgain(backing)
    scene.other = await openAgain(backing)
    await migrateUp(scene.db, migrations)
  })
  afterAll(async () => {
    await Promise.all([scene.db.close(), scene.other.close()])
    await backing.dispose()
  })
  beforeEach(async () => {
    scene.clock = setClock()
    scene.log = fakeLog()
    scene.forgotten = []
    await scene.db.run('delete from "session"')
    await scene.db.run('delete from "signingKey"')
  })
  scene.rowCount = async () => Number((await scene.db.first('select count(*) as "n" from "session"', [], { from: 'primary' }))?.['n'])
  scene.on = (db, rules = {}, rootKey) =>
    sessionBiz({
      ...{
        db,
        sessions: sessionStore,
        clock: scene.clock,
        log: scene.log,
        settings: { ...settingsOf(), session: { ...sessionDefaults, ...rules } },
      },
      chatLinkRecords: chatLinkRecordBiz({ db, clock: scene.clock, cipher: testCipher, links: chatLinkStore, codes: chatLinkCodeStore }),
      tokens: tokensOn(db, scene.clock, rootKey ? { rootKey } : {}),
      revocations: {
        async forget(tx, subjects) {
          if (!tx.inTransaction) throw new Error('not in a transaction')
          await tx.afterCommit(() => void scene.forgotten.push(...subjects))
        },
      },
    })
  return scene
}
