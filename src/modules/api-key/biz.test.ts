import { expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import { dayMs } from '@/core/clock'
import type { AdminIdentity } from '@/core/identity'
import { rootRoleId } from '@/modules/admin-role'
import { adminRoleBiz } from '@/modules/admin-role/biz'
import { adminRoleStore } from '@/modules/admin-role/store'
import { administratorBiz } from '@/modules/administrator/biz'
import { administratorStore } from '@/modules/administrator/store'
import { accountsOn, noting } from '@/testing/accounts'
import { onEachBacking } from '@/testing/backings'
import { failure } from '@/testing/conformance/fixture'
import { fakePasswords, fakeRevocations } from '@/testing/fakes'
import { adminCalled } from '@/testing/identities'
import { useMigrated } from '@/testing/migrated'
import { keysMax, type NewServiceKey } from './schema'

const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const wanted = { name: 'nightly report', scopes: ['users:read'] as 'users:read'[] }
const address = '192.0.2.1'
const byAdmin: Asking = { identity: adminCalled('root'), address }
const byUser = (id: string): Asking => ({ identity: { kind: 'user', id, sessionId: 's' }, address })
const password = 'correct horse battery'

onEachBacking('API keys', open => {
  const scene = useMigrated(open, ['user', 'userMessage', 'apiKey', 'administrator'])

  async function setUp({ isReal = false } = {}) {
    const clock = { ms: startMs, nowMs: () => clock.ms }
    const { db: noted, statements } = noting(scene.db)
    const roles = adminRoleBiz({ db: scene.db, permissions: [], roles: adminRoleStore })
    const real = administratorBiz({
      ...{ db: scene.db, roles, administrators: administratorStore, passwords: fakePasswords(), revocations: fakeRevocations() },
      sessions: { endAll: async () => 0 },
    })
    const all = accountsOn(noted, { clock, ...(isReal && { administrators: real }) })
    /** Who was let in as root, and has these permissions. */
    async function somebody(permissions: string[]): Promise<Asking> {
      const role = await adminRoleStore(scene.db).create({ name: `role-${crypto.randomUUID()}`, summary: '', permissions })
      return having(role.id)
    }
    async function having(roleId: string): Promise<Asking> {
      const row = { username: crypto.randomUUID().slice(0, 8), status: 'active' as const, roleIds: [roleId] }
      return { identity: adminCalled((await administratorStore(scene.db).create(row)).id), address }
    }
    const signUp = (username: string) => all.users.signUp({ username, email: `${username}@example.com`, password })
    const create = (userId: string, over: { expiresInDays?: number } = {}) =>
      all.keys.create(userId, { ...wanted, ...over, currentPassword: password }, byUser(userId))
    return {
      ...all,
      somebody,
      asRoot: await having(rootRoleId),
      create,
      clock,
      statements,
      signUp,
      identify: (key: string) => all.keys.identifier.identify(key),
    }
  }

  test('a key is shown once, kept as its hash, and tells whose it is and what it is for', async () => {
    const { create, keys, queue, signUp, identify } = await setUp()
    const { id: userId } = await signUp('ada')
    const { key, ...shown } = await create(userId)
    expect(JSON.stringify(await scene.db.all('select * from "apiKey"'))).not.toContain(key.slice(9))
    expect(shown).toMatchObject({ ...wanted, start: key.slice(0, 9), expiresAt: '2026-05-01T09:05:00.000Z' })
    expect((await keys.list(userId, {})).items).toEqual([shown])
    const identity = { kind: 'apiKey', id: shown.id, userId, scopes: new Set(['users:read']), requestsPerMinute: undefined }
    const expiresAtMs = startMs + 90 * dayMs
    expect(await identify(key)).toMatchObject({ identity, expiresAtMs, subjects: [`apiKey:${shown.id}`, `user:${userId}`] })
    expect(queue.enqueued.at(-1)).toMatchObject({ payload: { userId, purpose: 'apiKeyMade' } })
    expect(JSON.stringify(queue.enqueued)).not.toContain(key.slice(9))
  })

  test('the key of a service is nobody’s, and has limits of its own', async () => {
    const { keys, queue, identify } = await setUp()
    const { key, id } = await keys.createForService({ ...wanted, requestsPerMinute: 7 }, byAdmin)
    const identity = { kind: 'apiKey', id, userId: undefined, requestsPerMinute: 7 }
    expect(await identify(key)).toMatchObject({ identity, subjects: [`apiKey:${id}`] })
    expect(queue.enqueued).toEqual([])
  })

  test('who makes or deletes the key of a service is in the audit log, and the key is not; what users do with theirs is no event', async () => {
    const { create, keys, audit, signUp } = await setUp()
    const { id: userId } = await signUp('ada')
    await keys.remove(userId, (await create(userId)).id, byUser(userId))
    const { id, key } = await keys.createForService(wanted, byAdmin)
    await keys.remove(undefined, id, byAdmin)
    expect(await failure(keys.remove(undefined, id, byAdmin))).toBe('NotFound.ApiKeyNotFound')
    const said = { object: `api-key:${id}`, actor: 'admin:root', address }
    expect(audit.events).toMatchObject([
      { action: 'api-key.create', ...said, after: wanted },
      { action: 'api-key.delete', ...said, before: wanted },
    ])
    expect([audit.events.length, JSON.stringify(audit.events).includes(key.slice(9))]).toEqual([2, false])
  })

  test('whoever makes the key of a service holds a permission for each of its scopes, or every one', async () => {
    const { keys, asRoot, somebody } = await setUp({ isReal: true })
    const both: NewServiceKey = { ...wanted, scopes: ['users:read', 'users:write'] }
    for (const permissions of [['api-keys:write'], ['api-keys:write', 'users:read']])
      await expect(keys.createForService(both, await somebody(permissions))).rejects.toMatchObject({
        code: 'PermissionDenied.ScopeNotHeld',
        problems: expect.arrayContaining([{ pointer: '/scopes', detail: 'needs the permission users:write' }]),
      })
    expect(await scene.db.all('select "id" from "apiKey"')).toEqual([])
    for (const asking of [asRoot, await somebody(['users:read', 'users:write'])])
      expect(await keys.createForService(both, asking)).toMatchObject({ scopes: both.scopes })
  })

  test('what the maker of a key holds is what they hold at that moment, not what they were let in with', async () => {
    const { keys, somebody } = await setUp({ isReal: true })
    const asking = await somebody(['users:read'])
    const roles = adminRoleStore(scene.db)
    const { id } = asking.identity as AdminIdentity
    const make = () => failure(keys.createForService(wanted, asking))
    expect(await make()).toBe('resolved')
    await administratorStore(scene.db).update(id, { status: 'suspended' })
    expect(await make()).toBe('PermissionDenied.ScopeNotHeld')
    await administratorStore(scene.db).update(id, { status: 'active' })
    await roles.updateMany({ name: { ne: 'root' } }, { permissions: [] })
    expect(await make()).toBe('PermissionDenied.ScopeNotHeld')
    expect(await scene.db.all('select "id" from "apiKey"')).toHaveLength(1)
  })

  test('a typo costs no query, and what is well made but unknown one', async () => {
    const { keys, identify, statements } = await setUp()
    const { key } = await keys.createForService(wanted, byAdmin)
    statements.length = 0
    const typo = key.slice(0, 20) + (key[20] === 'a' ? 'b' : 'a') + key.slice(21)
    for (const wrong of [typo, 'bk_', 'bk_short', `${key}x`, key.toLowerCase()]) expect(await identify(wrong)).toBeUndefined()
    expect(statements).toEqual([])
    await scene.db.run('delete from "apiKey"')
    expect(await identify(key)).toBeUndefined()
    expect(statements).toHaveLength(1)
  })

  test('a key is of no use when it has expired, is deleted, or its user is suspended or gone', async () => {
    const { create, keys, accounts, clock, signUp, identify, revocations } = await setUp()
    const { id: userId } = await signUp('ada')
    const { key, id } = await create(userId, { expiresInDays: 1 })
    clock.ms += dayMs - 1
    expect(await identify(key)).toBeDefined()
    await accounts.suspend(userId, byAdmin)
    expect(await identify(key)).toBeUndefined()
    await accounts.restore(userId, byAdmin)
    expect(await identify(key)).toBeDefined()
    clock.ms++
    expect(await identify(key)).toBeUndefined()
    clock.ms--
    revocations.forgotten.length = 0
    await keys.remove(userId, id, byUser(userId))
    expect([await identify(key), revocations.forgotten]).toEqual([undefined, [`apiKey:${id}`]])
    const { key: second } = await create(userId)
    await accounts.remove(userId, {}, byAdmin)
    expect(await identify(second)).toBeUndefined()
  })

  test('nobody sees or deletes the keys of others, nor those of services', async () => {
    const { create, keys, signUp, identify, revocations } = await setUp()
    const [ada, eve] = [await signUp('ada'), await signUp('eve')]
    const [hers, service] = [await create(ada.id), await keys.createForService(wanted, byAdmin)]
    for (const { id } of [hers, service])
      await expect(keys.remove(eve.id, id, byUser(eve.id))).rejects.toMatchObject({ code: 'NotFound.ApiKeyNotFound' })
    await expect(keys.remove(undefined, hers.id, byAdmin)).rejects.toMatchObject({ code: 'NotFound.ApiKeyNotFound' })
    const lists = await Promise.all([ada.id, eve.id, undefined].map(async owner => (await keys.list(owner, {})).items.map(({ id }) => id)))
    expect(lists).toEqual([[hers.id], [], [service.id]])
    expect([await identify(hers.key), await identify(service.key)]).not.toContain(undefined)
    expect(revocations.forgotten).toEqual([])
  })

  test('a user has so many keys and no more, of however many at the same time; expired ones do not count, and are swept', async () => {
    const { keys, create, signUp, clock } = await setUp()
    const { id } = await signUp('ada')
    for (let i = 0; i < keysMax.user - 1; i++) await create(id, { expiresInDays: 1 })
    const made = await Promise.allSettled(Array.from({ length: 8 }, () => create(id, { expiresInDays: 1 })))
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const one of made)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'Conflict.TooManyApiKeys', retryAfterSeconds: undefined })
    await create((await signUp('eve')).id)
    expect(await keys.removeExpired(100)).toBe(0)
    clock.ms += dayMs
    await create(id)
    expect([await keys.removeExpired(5), await keys.removeExpired(100), await keys.removeExpired(100)]).toEqual([5, keysMax.user - 5, 0])
    expect((await keys.list(id, {})).items).toHaveLength(1)
  }, 20_000)

  test('a user makes a key with the password only, guesses at which are counted, and which is still the password', async () => {
    const { keys, accounts, codes, signUp, throttle } = await setUp()
    const { id } = await signUp('ada')
    const make = (currentPassword: string) => keys.create(id, { ...wanted, currentPassword }, byUser(id))
    await expect(make('wrong')).rejects.toMatchObject({ code: 'Unprocessable.PasswordWrong' })
    expect(throttle.guesses).toEqual([{ purpose: 'password', account: id, address, isRight: false }])
    const { code } = await codes.mint({ userId: id, purpose: 'resetPassword', email: 'ada@example.com' })
    const { guess } = throttle
    throttle.guess = async (given, check) => {
      const found = await guess(given, check)
      await accounts.reset({ code, password: 'another horse battery' }, address)
      return found
    }
    await expect(make(password)).rejects.toMatchObject({ kind: 'Aborted' })
    expect(await scene.db.all('select "id" from "apiKey"')).toEqual([])
  })

  test('its use is noted, once a minute however many processes note it', async () => {
    const { keys, clock } = await setUp()
    const { id } = await keys.createForService(wanted, byAdmin)
    const noted = async () => {
      const [row] = await scene.db.all('select "version" from "apiKey"')
      return [Number(row?.['version']), (await keys.list(undefined, {})).items[0]?.lastUsedAt]
    }
    expect(await noted()).toEqual([1, undefined])
    await Promise.all(Array.from({ length: 10 }, () => keys.noteUse(id)))
    expect(await noted()).toEqual([2, '2026-01-31T09:05:00.000Z'])
    clock.ms += 60_000
    await keys.noteUse(id)
    expect(await noted()).toEqual([2, '2026-01-31T09:05:00.000Z'])
    clock.ms++
    await keys.noteUse(id)
    expect(await noted()).toEqual([3, '2026-01-31T09:06:00.001Z'])
  })
})
