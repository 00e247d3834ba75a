import { expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import { dayMs } from '@/core/clock'
import { accountsOn, noting } from '@/testing/accounts'
import { onEachBacking } from '@/testing/backings'
import { useMigrated } from '@/testing/migrated'
import { keysMax, type NewServiceKey } from './schema'

const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const wanted = { name: 'nightly report', scopes: ['users:read'] as 'users:read'[] }
const address = '192.0.2.1'
const byAdmin: Asking = { identity: { kind: 'admin', id: 'root', sessionId: 's', permissions: new Set(['*']) }, address }
const byUser = (id: string): Asking => ({ identity: { kind: 'user', id, sessionId: 's' }, address })
const password = 'correct horse battery'

onEachBacking('API keys', open => {
  const scene = useMigrated(open, ['user', 'userMessage', 'apiKey'])

  async function setUp() {
    const clock = { ms: startMs, nowMs: () => clock.ms }
    const { db: noted, statements } = noting(scene.db)
    const all = accountsOn(noted, { clock })
    const signUp = (username: string) => all.users.signUp({ username, email: `${username}@example.com`, password })
    const create = (userId: string, over: { expiresInDays?: number } = {}) =>
      all.keys.create(userId, { ...wanted, ...over, currentPassword: password }, byUser(userId))
    return { ...all, create, clock, statements, signUp, identify: (key: string) => all.keys.identifier.identify(key) }
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

  test('whoever makes the key of a service holds a permission for each of its scopes, or every one', async () => {
    const { keys } = await setUp()
    const administrator = (...permissions: string[]): Asking => ({
      identity: { kind: 'admin', id: 'a', sessionId: 's', permissions: new Set(permissions) },
      address,
    })
    const both: NewServiceKey = { ...wanted, scopes: ['users:read', 'users:write'] }
    for (const permissions of [['api-keys:write'], ['api-keys:write', 'users:read']])
      await expect(keys.createForService(both, administrator(...permissions))).rejects.toMatchObject({
        code: 'PermissionDenied.ScopeNotHeld',
        problems: expect.arrayContaining([{ pointer: '/scopes', detail: 'needs the permission users:write' }]),
      })
    expect(await scene.db.all('select "id" from "apiKey"')).toEqual([])
    for (const permissions of [['*'], ['users:read', 'users:write']])
      expect(await keys.createForService(both, administrator(...permissions))).toMatchObject({ scopes: both.scopes })
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
