import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { apiKeyStore } from '@/modules/api-key/store'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type Client, clientWith, newAdministrator, newUser, type UserClient } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import type { Answer, Problem } from '../http-client'

const everywhereMs = 2000 + 500
interface MadeKey extends Record<string, unknown> {
  id: string
  key: string
}

onEachBacking('API keys of the executable', open => {
  let backing: Backing
  let here: RunningBingo
  let there: RunningBingo
  let db: OpenDatabase
  let admin: Client
  let user: UserClient
  beforeAll(async () => {
    backing = await open()
    const { env = {} } = backing.options
    here = await startBingo({ ...backing.options, roles: 'api,admin' })
    there = await startBingo({ env, roles: 'api' })
    db = await openAgain(backing)
    admin = await newAdministrator(here.urls['admin'] ?? '', env)
    user = await newUser(here.urls['api'] ?? '')
  }, 60_000)
  afterAll(async () => {
    await db.close()
    expect(await Promise.all([here.stop(), there.stop()])).toEqual([0, 0])
    await backing.dispose()
  }, 30_000)

  const api = (path: string, on = here) => `${on.urls['api']}/api/v1${path}`
  const make = (body: object, by: Client = user, url = api('/me/api-keys')) =>
    by.send<MadeKey>('POST', url, {
      name: 'nightly report',
      scopes: ['users:read'],
      ...(by !== admin && { currentPassword: user.password }),
      ...body,
    })
  const own = (by: Client, on = here): Promise<Answer<Problem>> => by.send('GET', api(`/users/${user.user.id}`, on))

  test('a key is shown once, does what its scope says for its user, and nothing else', async () => {
    const { status, headers, body } = await make({})
    expect([status, headers.get('cache-control'), body.key]).toEqual([201, 'no-store', expect.stringMatching(/^bk_[0-9A-Za-z]{44}$/)])
    const { body: page } = await user.send<{ items: MadeKey[] }>('GET', api('/me/api-keys'))
    expect(JSON.stringify(page)).not.toContain(body.key.slice(9))
    expect(page.items[0]).toMatchObject({ id: body.id, start: body.key.slice(0, 9), scopes: ['users:read'] })
    const key = clientWith(body.key)
    for (const on of [here, there]) expect((await own(key, on)).status).toBe(200)
    const eve = await newUser(here.urls['api'] ?? '')
    const refusals = await Promise.all([
      key.send<Problem>('PATCH', api(`/users/${user.user.id}`), { nickname: 'Ada' }),
      key.send<Problem>('GET', api(`/users/${eve.user.id}`)),
      key.send<Problem>('GET', api('/users')),
      key.send<Problem>('GET', api('/me/api-keys')),
      make({}, key),
      key.send<Problem>('GET', `${here.urls['admin']}/admin/v1/users`),
    ])
    const [scope, ...others] = refusals.map(each => [each.status, each.body['code']])
    expect(scope).toEqual([403, 'PermissionDenied.Scope'])
    expect(others.map(each => each[0])).toEqual([403, 403, 403, 403, 401])
    expect((await key.send('GET', api('/me'))).body).toMatchObject({ id: user.user.id })
    expect((await user.send<Problem>('POST', api('/me/api-keys'), { name: 'x', scopes: ['users:read'] })).status).toBe(422)
    const one = await user.send<MadeKey>('GET', api(`/me/api-keys/${body.id}`))
    expect(one).toMatchObject({ status: 200, body: { id: body.id, start: body.key.slice(0, 9) } })
    expect((await eve.send('GET', api(`/me/api-keys/${body.id}`))).status).toBe(404)
    const writing = clientWith((await make({ scopes: ['users:write'] })).body.key)
    expect((await writing.send('PATCH', api(`/users/${user.user.id}`), { nickname: 'Ada' })).status).toBe(200)
    expect((await writing.send('PATCH', api(`/users/${eve.user.id}`), { nickname: 'Ada' })).status).toBe(403)
    await until(async () => (await apiKeyStore(db).get(body.id))?.lastUsedAt !== undefined)
    expect([...here.log, ...there.log].some(line => JSON.stringify(line).includes(body.key.slice(9)))).toBe(false)
  }, 60_000)

  test('a key that is deleted is refused by another process within two seconds, and by this one at once', async () => {
    const { body } = await make({})
    const key = clientWith(body.key)
    for (const on of [here, there]) expect((await own(key, on)).status).toBe(200)
    const eve = await newUser(here.urls['api'] ?? '')
    expect((await eve.send('DELETE', api(`/me/api-keys/${body.id}`))).status).toBe(404)
    expect((await own(key, there)).status).toBe(200)
    expect((await user.send('DELETE', api(`/me/api-keys/${body.id}`))).status).toBe(204)
    expect(await own(key)).toMatchObject({ status: 401, body: { code: 'Unauthenticated.Token' } })
    await until(async () => (await own(key, there)).status === 401, everywhereMs)
    expect((await user.send('DELETE', api(`/me/api-keys/${body.id}`))).status).toBe(404)
  }, 60_000)

  test('a key is refused when it has expired, and nobody makes one that never does', async () => {
    for (const expiresInDays of [0, 366, -1, 1.5]) expect((await make({ expiresInDays })).status).toBe(422)
    for (const scopes of [[], ['*'], ['admin'], ['users:delete'], ['users:read', 'users:read']])
      expect((await make({ scopes })).status).toBe(422)
    const { body } = await make({ expiresInDays: 1 })
    const key = clientWith(body.key)
    const soonMs = Date.now() + 1500
    await apiKeyStore(db).update(body.id, { expiresAt: new Date(soonMs).toISOString() })
    expect((await own(key)).status).toBe(200)
    await until(async () => (await own(key)).status === 401, 5000)
    expect(Date.now()).toBeGreaterThanOrEqual(soonMs)
  }, 60_000)

  test('a key of a service reads all users and is nobody; only administrators make one', async () => {
    const url = `${here.urls['admin']}/admin/v1/api-keys`
    expect((await make({}, user, url)).status).toBe(401)
    const few = await newAdministrator(here.urls['admin'] ?? '', backing.options.env, ['api-keys:write'])
    const refused = await few.send<Problem>('POST', url, { name: 'mine', scopes: ['users:write'] })
    expect([refused.status, refused.body.code]).toEqual([403, 'PermissionDenied.ScopeNotHeld'])
    const { status, body } = await make({ requestsPerMinute: 600 }, admin, url)
    expect(status).toBe(201)
    const key = clientWith(body.key)
    for (const path of ['/users', `/users/${user.user.id}`]) expect((await key.send('GET', api(path, there))).status).toBe(200)
    for (const path of ['/me', '/me/api-keys']) expect((await key.send('GET', api(path))).status).toBe(403)
    expect((await user.send('DELETE', api(`/me/api-keys/${body.id}`))).status).toBe(404)
    const { body: page } = await admin.send<{ items: MadeKey[] }>('GET', url)
    expect(page.items).toMatchObject([{ id: body.id, requestsPerMinute: 600 }])
    expect((await admin.send('DELETE', `${url}/${body.id}`)).status).toBe(204)
    await until(async () => (await key.send('GET', api('/users', there))).status === 401, everywhereMs)
  }, 60_000)
})
