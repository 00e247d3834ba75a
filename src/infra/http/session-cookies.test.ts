import { describe, expect, test } from 'bun:test'
import { Type } from '@/core/schema'
import { admin, everyone } from '@/core/access'
import { controller, identityOf } from '@/core/controller'
import { keptCookies, removedCookies } from '@/core/session-cookies'
import { Readiness } from '@/core/service'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { adminCalled, recognizing } from '@/testing/identities'
import { httpApp } from './app'
import { createHealth } from './health'

const Who = Type.Object({ who: Type.String() }, { additionalProperties: false })
const origin = 'https://admin.example.com'
const [access, refresh] = ['__Host-bingo-access', '__Host-bingo-refresh']
const own = { 'sec-fetch-site': 'same-origin' }

/** An app whose routes say who has called, and note that they ran. */
function served({ takesCookies = true } = {}) {
  const [log, readiness] = [fakeLog(), new Readiness()]
  const ran: string[] = []
  const shown = (operationId: string) => ({ response: { 200: Who }, detail: { operationId, summary: operationId } })
  const say = ({ request }: { request: Request }) => {
    ran.push(request.method)
    const identity = identityOf(request)
    return { who: identity.kind === 'admin' ? identity.id : identity.kind }
  }
  const stale = { ...adminCalled('stale'), provenUntilMs: Date.now() - 1 }
  const routes = controller({ prefix: '/things', tags: ['Things'] })
    .get('', say, { ...shown('see'), access: [admin()] })
    .post('', say, { ...shown('make'), access: [admin()] })
    .delete('', say, { ...shown('remove'), access: [admin('things:remove', { isDangerous: true })] })
    .post('/open', say, { ...shown('open'), access: [everyone()] })
    .get(
      '/cookies',
      ({ request, set }) => {
        set.headers['set-cookie'] = keptCookies({ accessToken: 'eyJa', refreshToken: 'br_b', expiresInSeconds: 600 })
        return say({ request })
      },
      { ...shown('give'), access: [everyone()] },
    )
  const app = httpApp('admin', '/admin/v1', [routes], {
    ...{ log, metrics: fakeMetrics(), readiness, health: createHealth(readiness, [], log), bodyLimitBytes: 1024 },
    ...{ takesCookies, provenMs: 900_500, recognizer: recognizing({ grace: adminCalled('grace'), ada: adminCalled('ada'), stale }) },
  })
  async function ask(method: string, path: string, headers: Record<string, string>) {
    const url = `http://admin.example.com/admin/v1/things${path}`
    const response = await app.handle(new Request(url, { method, headers: { host: 'admin.example.com', ...headers } }))
    const body = (await response.json()) as { who?: string; code?: string }
    return { status: response.status, said: body.who ?? body.code, headers: response.headers }
  }
  const said = async (method: string, path: string, headers: Record<string, string>) => {
    const { status, said } = await ask(method, path, headers)
    return [status, said]
  }
  return { ask, said, ran, log }
}

describe('the cookie of a session', () => {
  test('says who calls where nothing else does, on a server that takes cookies', async () => {
    const { said } = served()
    const cookie = `other=1; ${access}=grace; ${refresh}=br_x`
    expect(await said('GET', '', { cookie })).toEqual([200, 'grace'])
    expect(await said('GET', '', { cookie, authorization: 'Bearer ada' })).toEqual([200, 'ada'])
    expect(await said('GET', '', { cookie, authorization: 'Bearer forged' })).toEqual([401, 'Unauthenticated.Token'])
    expect(await said('GET', '', { cookie: `${access}=forged` })).toEqual([401, 'Unauthenticated.Token'])
    expect(await served({ takesCookies: false }).said('GET', '', { cookie })).toEqual([401, 'Unauthenticated.Credentials'])
  })

  test('is none under another name, twice, or when it is nothing of ours', async () => {
    const { said } = served()
    for (const cookie of [
      'bingo-access=grace',
      `x${access}=grace`,
      `${refresh}=grace`,
      `${access}=grace; ${access}=ada`,
      `${access}="grace"`,
      `${access}=gr ace`,
      `${access}`,
      `a=${access}=grace`,
    ])
      expect([cookie, await said('GET', '', { cookie })]).toEqual([cookie, [401, 'Unauthenticated.Credentials']])
  })

  test('cannot be read by scripts, goes to this host alone over HTTPS, and with its own pages only', async () => {
    const { ask } = served()
    const { headers } = await ask('GET', '/cookies', {})
    const rest = 'Path=/; Secure; HttpOnly; SameSite=Strict'
    expect(headers.getSetCookie()).toEqual([`${access}=eyJa; Max-Age=600; ${rest}`, `${refresh}=br_b; ${rest}`])
    expect(removedCookies()).toEqual([`${access}=; Max-Age=0; ${rest}`, `${refresh}=; Max-Age=0; ${rest}`])
  })
})

describe('what changes something and comes with a cookie', () => {
  const cookie = `${access}=grace`
  test('is done for a page of this origin, as the browser says', async () => {
    const { said } = served()
    expect(await said('POST', '', { cookie, ...own })).toEqual([200, 'grace'])
    expect(await said('POST', '', { cookie, ...own, origin: 'https://elsewhere.example' })).toEqual([200, 'grace'])
    expect(await said('POST', '', { cookie, origin })).toEqual([200, 'grace'])
    for (const host of ['localhost:8081', '127.0.0.1:8081', '[::1]:8081'])
      expect([host, await said('POST', '', { cookie, host, origin: `http://${host}` })]).toEqual([host, [200, 'grace']])
  })

  test('is refused for any other, before the route is asked, also with the cookie for refreshing alone, and one line says so', async () => {
    const { said, ran, log } = served()
    const foreign: Record<string, string>[] = [
      {},
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
      { 'sec-fetch-site': 'same-site', origin },
      { origin: 'null' },
      { origin: 'https://evil.example' },
      { origin: 'https://admin.example.com.evil.example' },
      { origin: 'https://admin.example.com:8443' },
      { origin: 'http://admin.example.com' },
      { origin: `${origin}/` },
    ]
    for (const headers of foreign)
      for (const [method, path, sent] of [
        ['POST', '', cookie],
        ['DELETE', '', cookie],
        ['POST', '/open', `${refresh}=br_x`],
        ['POST', '/open', `${access}=forged`],
      ] as const)
        expect([headers, path, await said(method, path, { cookie: sent, ...headers })]).toEqual([
          headers,
          path,
          [403, 'PermissionDenied.CrossOrigin'],
        ])
    expect(ran).toEqual([])
    expect(log.lines.filter(({ message }) => message === 'access denied')).toHaveLength(foreign.length * 4)
  })

  test('is nobody else’s business: programs with a token, strangers and readers are asked for no origin', async () => {
    const { said } = served()
    expect(await said('POST', '', { authorization: 'Bearer ada' })).toEqual([200, 'ada'])
    expect(await said('POST', '/open', { cookie: 'other=1', origin: 'https://evil.example' })).toEqual([200, 'anonymous'])
    expect(await said('GET', '', { cookie, 'sec-fetch-site': 'cross-site' })).toEqual([200, 'grace'])
  })
})

test('whoever has proven who they are too long ago is told so, and how long a proof holds (RFC 9470)', async () => {
  const { ask, ran } = served()
  const { status, said, headers } = await ask('DELETE', '', { authorization: 'Bearer stale' })
  expect([status, said]).toEqual([401, 'Unauthenticated.Proof'])
  expect(headers.get('www-authenticate')).toMatch(
    /^Bearer realm="bingo", error="insufficient_user_authentication", error_description="[^"\\]+", max_age=900$/,
  )
  expect(ran).toEqual([])
  expect((await ask('DELETE', '', { authorization: 'Bearer grace' })).status).toBe(200)
})
