import { askedBy, type Asking } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import { dayMs, toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { type Identified, type Identifier, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { Where } from '@/core/store'
import type { AdministratorBiz } from '@/modules/administrator'
import type { UserBiz } from '@/modules/user'
import { hashOf, isWellFormed, looksLikeKey, makeKey } from './key'
import {
  type ApiKey,
  apiKeyErrors,
  type ApiKeyPage,
  type ApiKeyRow,
  keysMax,
  type MadeApiKey,
  type NewApiKey,
  type NewServiceKey,
} from './schema'
import type { apiKeyStore } from './store'

/** What it writes into the audit log. */
export const audits = ['api-key.create', 'api-key.delete'] as const

export type ApiKeyBiz = ReturnType<typeof apiKeyBiz>

/** Whose keys: of the user with this id, or, undefined, of services, which are nobody's. */
export type KeyOwner = string | undefined

type UsersOfKeys = Pick<UserBiz, 'current' | 'confirmPassword' | 'hold' | 'notify'>

const daysDefault = 90
/** More exact than so nobody needs to know when a key was used, and each time is a write. */
const useNotedEveryMs = 60_000

/** Keys of programs: random, kept as hashes, shown once, for a few purposes and not for ever. */
export function apiKeyBiz({
  db,
  clock,
  log,
  revocations,
  keys,
  users,
  administrators,
  audit,
}: Pick<Ports, 'db' | 'clock' | 'log' | 'revocations'> & {
  keys: typeof apiKeyStore
  users: UsersOfKeys
  administrators: Pick<AdministratorBiz, 'unheld'>
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record'>
}) {
  const primary = { from: 'primary' } as const

  /**
   * For a user, who needs the password: a key outlives the session that it is made with.
   * @throws PasswordWrong, ResourceExhausted for whoever guesses, TooManyApiKeys, Contended
   */
  async function create(userId: string, { currentPassword, ...input }: NewApiKey, asking: Asking): Promise<MadeApiKey> {
    const confirmed = await users.confirmPassword(userId, currentPassword, asking.address)
    return make(userId, input, asking, async tx => {
      // Keys that are made at the same time are counted one after another; and none comes out of a password that was reset meanwhile.
      const held = await users.hold(tx, confirmed)
      await refuseTooMany(tx, userId)
      await users.notify(tx, held, 'apiKeyMade')
    })
  }

  /**
   * For a service, by an administrator, who holds at this moment a permission of the same name for each scope of it, or every one: else
   * the key could do what its maker may not, and go on doing it after they were let in for the last time.
   * @throws ScopeNotHeld, TooManyApiKeys
   */
  const createForService = (input: NewServiceKey, asking: Asking): Promise<MadeApiKey> =>
    make(undefined, input, asking, async tx => {
      const { identity } = asking
      const lacking = identity.kind === 'admin' ? await administrators.unheld(tx, identity.id, input.scopes) : undefined
      if (lacking?.length !== 0) {
        const problems = (lacking ?? input.scopes).map(scope => ({ pointer: '/scopes', detail: `needs the permission ${scope}` }))
        throw apiKeyErrors.ScopeNotHeld({ problems })
      }
      await refuseTooMany(tx, undefined)
    })

  async function make(
    owner: KeyOwner,
    { expiresInDays = daysDefault, ...input }: NewServiceKey,
    asking: Asking,
    first: (tx: Database) => Promise<void>,
  ): Promise<MadeApiKey> {
    const { key, keyHash, start } = makeKey()
    const expiresAt = toTimestamp(clock.nowMs() + expiresInDays * dayMs)
    const isOfService = owner === undefined
    const row = await db.tx(
      async tx => {
        await first(tx)
        const made = await keys(tx).create({ ...input, ...(owner !== undefined && { userId: owner }), start, keyHash, expiresAt })
        if (isOfService) {
          const after = { ...input, expiresAt }
          await audit.record(tx, askedBy(asking), { ...entryOn('api-key.create', made.id), after })
        }
        return made
        // Whoever takes the permission from its maker at the same time is seen.
      },
      isOfService ? { isolation: 'serializable' } : {},
    )
    log.info('an API key was made', { ...askedBy(asking), object: subjectOf('apiKey', row.id), scopes: row.scopes })
    return { ...view(row), key }
  }

  async function refuseTooMany(tx: Database, owner: KeyOwner): Promise<void> {
    const most = owner === undefined ? keysMax.service : keysMax.user
    const good = { ...of(owner), expiresAt: { gt: toTimestamp(clock.nowMs()) } }
    if ((await keys(tx).count(good, primary)) >= most) throw apiKeyErrors.TooManyApiKeys()
  }

  /** @throws ApiKeyNotFound, also for the keys of others */
  async function get(owner: KeyOwner, id: string): Promise<ApiKey> {
    const row = await keys(db).find({ ...of(owner), id })
    if (!row) throw apiKeyErrors.ApiKeyNotFound()
    return view(row)
  }

  async function list(owner: KeyOwner, page: PageQuery): Promise<ApiKeyPage> {
    const { items, nextPageToken } = await keys(db).list({ ...page, where: of(owner), orderBy: 'createdAt desc' })
    return { items: items.map(view), nextPageToken }
  }

  /** Of those that are good. */
  const count = (owner: KeyOwner): Promise<number> => keys(db).count({ ...of(owner), expiresAt: { gt: toTimestamp(clock.nowMs()) } })

  /** @throws ApiKeyNotFound, also for the keys of others */
  async function remove(owner: KeyOwner, id: string, asking: Asking): Promise<void> {
    await db.tx(async tx => {
      const row = await keys(tx).find({ ...of(owner), id }, primary)
      if (!row || (await keys(tx).deleteMany({ ...of(owner), id })) === 0) throw apiKeyErrors.ApiKeyNotFound()
      if (owner === undefined) {
        const { name, scopes, expiresAt } = row
        const before = { name, scopes, expiresAt }
        await audit.record(tx, askedBy(asking), { ...entryOn('api-key.delete', id), before })
      }
      await revocations.forget(tx, [subjectOf('apiKey', id)])
    })
    log.info('an API key was deleted', { ...askedBy(asking), object: subjectOf('apiKey', id) })
  }

  /** Of a user who is no more, or has reset the password: what processes remember of the keys goes with the user, whom `forget` is told. */
  async function removeAll(tx: Database, userId: string): Promise<void> {
    await keys(tx).deleteMany({ userId })
  }

  /** Removes up to so many that have expired, 1–100. @returns how many */
  async function removeExpired(countMax: number): Promise<number> {
    const expired = { expiresAt: { lte: toTimestamp(clock.nowMs()) } }
    const { items } = await keys(db).list({ where: expired, pageSize: countMax, select: ['id'], from: 'primary' })
    // Nobody has to forget what says itself when it ends.
    return items.length === 0 ? 0 : keys(db).deleteMany({ id: { in: items.map(({ id }) => id) } })
  }

  const identifier: Identifier = {
    takes: looksLikeKey,
    async identify(credential): Promise<Identified | undefined> {
      if (!isWellFormed(credential)) return undefined
      const row = await keys(db).find({ keyHash: hashOf(credential) }, primary)
      const expiresAtMs = row ? Date.parse(row.expiresAt) : 0
      if (!row || expiresAtMs <= clock.nowMs()) return undefined
      if (row.userId !== undefined && (await users.current(row.userId))?.status !== 'active') return undefined
      const { id, userId, requestsPerMinute } = row
      return {
        identity: { kind: 'apiKey', id, userId, scopes: new Set<string>(row.scopes), requestsPerMinute },
        expiresAtMs,
        subjects: [subjectOf('apiKey', id), ...(userId === undefined ? [] : [subjectOf('user', userId)])],
        used: () => void noteUse(id),
      }
    },
  }

  /** Never fails: a request does not wait for it, and can do without. */
  async function noteUse(id: string): Promise<void> {
    const nowMs = clock.nowMs()
    const notSoon: Where<ApiKeyRow> = { lastUsedAt: { lt: toTimestamp(nowMs - useNotedEveryMs) } }
    try {
      await keys(db).updateMany({ id, or: [{ lastUsedAt: { isNull: true } }, notSoon] }, { lastUsedAt: toTimestamp(nowMs) })
    } catch (thrown) {
      log.warn('cannot note the use of an API key', { apiKeyId: id, error: thrown })
    }
  }

  return { create, createForService, get, list, count, remove, removeAll, removeExpired, identifier, noteUse }
}

const of = (owner: KeyOwner): Where<ApiKeyRow> => (owner === undefined ? { userId: { isNull: true } } : { userId: owner })

function view({ id, name, start, scopes, requestsPerMinute, expiresAt, lastUsedAt, createdAt }: ApiKeyRow): ApiKey {
  const shown = { id, name, start, scopes, expiresAt, createdAt }
  return { ...shown, ...(requestsPerMinute !== undefined && { requestsPerMinute }), ...(lastUsedAt !== undefined && { lastUsedAt }) }
}
