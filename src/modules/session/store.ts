import { toTimestamp } from '@/core/clock'
import { rowCodec } from '@/core/column'
import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { type Realm, type SessionRow, type SessionTable, sessions } from './schema'

export interface SessionStore extends Store<SessionTable> {
  /** Makes it the next generation, unless another call has done so. @returns whether it was this one */
  rotate(row: Pick<SessionRow, 'id' | 'generation'>, to: Rotation): Promise<boolean>
  /** Sets when it was last used, and nothing else: whoever changes it at the same time is not in the way. */
  touch(id: string, atMs: number): Promise<void>
  /** Sets when it was last proven whose it is, of one that goes on. @returns whether there is one */
  prove(realm: Realm, accountId: string, id: string, atMs: number): Promise<boolean>
  /** Of an account, also those that have ended by themselves; kept as they are until the end of a transaction, and none can be added. */
  idsOf(realm: Realm, accountId: string): Promise<string[]>
  /** Of an account: how many go on, and when one was last used, also of those that have ended by themselves since. */
  activityOf(realm: Realm, accountId: string, nowMs: number): Promise<Activity>
  /** Of an account, beyond so many, those that were not used for longest. */
  unusedBeyond(realm: Realm, accountId: string, count: number): Promise<string[]>
  /** @returns how many there were */
  deleteIds(ids: readonly string[]): Promise<number>
  /** Up to so many that have ended by themselves. */
  endedBefore(atMs: number, countMax: number): Promise<string[]>
}

/** How an account is in use. */
export interface Activity {
  count: number
  lastUsedAt?: string
}

/** What a refresh changes. */
export type Rotation = Pick<SessionRow, 'rotatedAt' | 'idleUntil' | 'lastUsedAt' | 'userAgent' | 'address'>

const rotated = ['rotatedAt', 'idleUntil', 'lastUsedAt', 'userAgent', 'address'] as const
const primary = { from: 'primary' } as const
/** More than an account has, but for a moment. */
const idsMax = 10_000

export function sessionStore(db: Database): SessionStore {
  const store = createStore(db, sessions)
  const codec = rowCodec(sessions.columns, db.dialect)
  const locked = db.inTransaction ? db.dialect.forUpdate : ''
  const ids = async (rest: string, params: Parameters<Database['all']>[1]) =>
    (await db.all(`select "id" from "session" ${rest}`, params, primary)).map(row => String(row['id']))
  return {
    ...store,

    async rotate({ id, generation }, to) {
      const now = codec.encode('updatedAt', toTimestamp(db.clock.nowMs()))
      const { changes } = await db.run(
        `update "session" set ${rotated.map(column => `"${column}" = ?`).join(', ')}, "generation" = "generation" + 1, "updatedAt" = ?,
          "version" = "version" + 1 where "id" = ? and "generation" = ?`,
        [...rotated.map(column => codec.encode(column, to[column])), now, id, generation],
      )
      return changes > 0
    },

    async touch(id, atMs) {
      await db.run('update "session" set "lastUsedAt" = ? where "id" = ?', [codec.encode('lastUsedAt', toTimestamp(atMs)), id])
    },

    async prove(realm, accountId, id, atMs) {
      const at = codec.encode('provenAt', toTimestamp(atMs))
      const whose = '"id" = ? and "realm" = ? and "accountId" = ? and "idleUntil" > ?'
      const changed = `update "session" set "provenAt" = ?, "updatedAt" = ?, "version" = "version" + 1 where ${whose}`
      return (await db.run(changed, [at, at, id, realm, accountId, at])).changes > 0
    },

    idsOf: (realm, accountId) => ids(`where "realm" = ? and "accountId" = ? limit ${idsMax}${locked}`, [realm, accountId]),

    async activityOf(realm, accountId, nowMs) {
      let count = 0
      let lastUsedAt: string | undefined
      const rows = store.iterate({ where: { realm, accountId }, select: ['lastUsedAt', 'idleUntil'], batchSize: 1000, ...primary })
      for await (const row of rows) {
        if (Date.parse(row.idleUntil) > nowMs) count++
        if (lastUsedAt === undefined || row.lastUsedAt > lastUsedAt) lastUsedAt = row.lastUsedAt
      }
      return { count, ...(lastUsedAt !== undefined && { lastUsedAt }) }
    },

    unusedBeyond: (realm, accountId, count) =>
      ids(`where "realm" = ? and "accountId" = ? order by "lastUsedAt" desc, "id" desc limit ${idsMax} offset ${count}`, [
        realm,
        accountId,
      ]),

    async deleteIds(gone) {
      if (gone.length === 0) return 0
      return (await db.run(`delete from "session" where "id" in (${gone.map(() => '?').join(', ')})`, gone)).changes
    },

    endedBefore: (atMs, countMax) =>
      ids(`where "idleUntil" < ? order by "idleUntil" limit ${countMax}`, [codec.encode('idleUntil', toTimestamp(atMs))]),
  }
}
