import { expect, test } from 'bun:test'
import { t } from 'elysia'
import { type Access, admin, apiKey, everyone, owner, user } from '@/core/access'
import { AppError } from '@/core/error'
import { controller, identityOf, userIdOf, userOf } from '@/core/controller'
import type { Identity } from '@/core/identity'
import { Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { adminCalled, keyCalled, recognizing, userCalled } from '@/testing/identities'
import { httpApp } from './app'
import { createHealth } from './health'
import type { Recognizer } from './recognition'

const Thing = Type.Object({ name: Type.String({ maxLength: 5 }) }, { additionalProperties: false })
const params = t.Object({ id: t.String({ maxLength: 8 }) })

const known: Record<string, Identity> = {
  ada: userCalled('ada'),
  bob: userCalled('bob'),
  reader: keyCalled('k1', ['things:read'], 'ada'),
  service: keyCalled('k2', ['things:read']),
  narrow: keyCalled('k3', ['things:write'], 'ada'),
  root: adminCalled('root'),
}

/** An app with a route for each rule, that notes which handlers ran. */
function guarded(recognizer: Recognizer = recognizing(known)) {
  const log = fakeLog()
  const readiness = new Readiness()
  const ran: string[] = []
  const declared = (operationId: string, access: readonly Access[]) => ({
    response: { 200: Thing },
    access,
    detail: { operationId, summary: operationId },
  })
  const things = controller({ prefix: '/things', tags: ['Things'] })
    .get('/open', ({ request }) => ({ name: identityOf(request).kind.slice(0, 5) }), declared('open', [everyone()]))
    .get('/mine', ({ request }) => ({ name: userOf(request).id }), declared('mine', [user()]))
    .get('/either', ({ request }) => ({ name: userIdOf(request) }), declared('either', [user(), apiKey('things:read')]))
    .get('/:id', ({ params }) => ({ name: params.id }), { params, ...declared('get', [owner(), apiKey('things:read')]) })
    .get('/:id/asked', ({ params }) => ({ name: params.id }), {
      params,
      ...declared('asked', [owner(async ({ id }) => (id === 'order' ? 'ada' : undefined))]),
    })
    .post(
      '',
      ({ body }) => {
        ran.push('post')
        return body
      },
      { body: Thing, parse: 'json', ...declared('post', [user()]) },
    )
    .post('/log-in', ({ body }) => body, { body: Thing, parse: 'json', ...declared('logIn', [everyone()]) })
    .delete('/:id', () => ({ name: 'gone' }), { params, ...declared('remove', [admin('things:remove')]) })
  const health = createHealth(readiness, [], log)
  const app = httpApp('api', '/api/v1', [things], { log, metrics: fakeMetrics(), readiness, health, recognizer, bodyLimitBytes: 1024 })
  async function ask(path: string, authorization?: string, init: { method?: string; body?: string } = {}) {
    const headers = {
      ...(authorization && { authorization }),
      ...(init.body !== undefined && { 'content-type': 'application/json', 'content-length': String(init.body.length) }),
    }
    const response = await app.handle(new Request(`http://localhost/api/v1/things${path}`, { ...init, headers }))
    const text = await response.text()
    const body = text === '' ? {} : JSON.parse(text)
    return { status: response.status, code: body.code, name: body.name, challenge: response.headers.get('www-authenticate'), body }
  }
  return { ask, app, log, ran }
}

test('a route is asked only by those whom its rules name', async () => {
  const { ask } = guarded()
  expect(await ask('/mine')).toMatchObject({ status: 401, code: 'Unauthenticated.Credentials', challenge: 'Bearer realm="bingo"' })
  expect(await ask('/mine', 'Bearer ada')).toMatchObject({ status: 200, name: 'ada', challenge: null })
  const { status, code, body } = await ask('/mine', 'Bearer root')
  expect([status, code, body.errors]).toEqual([
    403,
    'PermissionDenied.NotForYou',
    [{ pointer: 'authorization', detail: 'must be of user' }],
  ])
  expect((await ask('/ada', 'Bearer narrow')).challenge).toEndWith(
    'error_description="The API key does not have the scope that this needs.", scope="things:read"',
  )
  expect(await ask('/ada', 'Bearer ada')).toMatchObject({ status: 200, name: 'ada' })
  expect(await ask('/ada', 'Bearer bob')).toMatchObject({ status: 403, code: 'PermissionDenied.NotYours' })
  expect(await ask('/ada', 'Bearer service')).toMatchObject({ status: 200 })
  expect(await ask('/order/asked', 'Bearer ada')).toMatchObject({ status: 200 })
  expect(await ask('/order/asked', 'Bearer bob')).toMatchObject({ status: 404, code: 'NotFound.NotFound' })
  expect(await ask('/none/asked', 'Bearer ada')).toMatchObject({ status: 404, code: 'NotFound.NotFound' })
  expect(await ask('/x', 'Bearer ada', { method: 'DELETE' })).toMatchObject({ status: 403, code: 'PermissionDenied.NotForYou' })
  expect(await ask('/x', 'Bearer root', { method: 'DELETE' })).toMatchObject({ status: 200, name: 'gone' })
  expect((await guarded().app.handle(new Request('http://localhost/api/v1/things/mine', { method: 'HEAD' }))).status).toBe(401)
})

test('handlers learn who calls, also for whom a key speaks', async () => {
  const { ask } = guarded()
  expect(await ask('/open')).toMatchObject({ name: 'anony' })
  expect(await ask('/open', 'Bearer ada')).toMatchObject({ name: 'user' })
  expect(await ask('/either', 'Bearer ada')).toMatchObject({ name: 'ada' })
  expect(await ask('/either', 'Bearer reader')).toMatchObject({ name: 'ada' })
  // Nobody's key has things of its own.
  expect(await ask('/either', 'Bearer service')).toMatchObject({ status: 403, code: 'PermissionDenied.NotForYou' })
})

test('a credential that is not valid is refused, and counts as none where everyone may call', async () => {
  const { ask } = guarded()
  for (const authorization of [
    'Bearer forged',
    'Bearer',
    'Bearer ',
    'Bearer ada, Bearer ada',
    'Bearer ada ada',
    'Basic YWRhOmFkYQ==',
    'ada',
    'Bearer: ada',
    `Bearer ${'a'.repeat(5000)}`,
    'Bearer __proto__',
  ]) {
    expect([authorization, await ask('/mine', authorization)]).toMatchObject([
      authorization,
      { status: 401, code: 'Unauthenticated.Token', challenge: refreshing },
    ])
    expect([authorization, await ask('/open', authorization)]).toMatchObject([authorization, { status: 200, name: 'anony' }])
    expect((await ask('/log-in', authorization, { method: 'POST', body: '{"name":"ada"}' })).status).toBe(200)
  }
})

/** RFC 6750 §3. */
const refreshing =
  'Bearer realm="bingo", error="invalid_token", error_description="The access token or API key is not valid, or not any more: refresh it, or log in again."'

test('the scheme may be written in any case', async () => {
  const slow: Recognizer = { remembered: () => undefined, recognize: async credential => known[credential] }
  const { ask } = guarded(slow)
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer '])
    expect([scheme, (await ask('/mine', `${scheme} ada`)).status]).toEqual([scheme, 200])
})

test('a credential counts in its header only', async () => {
  const { app } = guarded()
  for (const [path, headers] of [
    ['/mine?access_token=ada', {}],
    ['/mine?authorization=Bearer%20ada', {}],
    ['/mine', { cookie: 'access_token=ada; authorization=Bearer ada' }],
    ['/mine', { 'x-api-key': 'ada', 'proxy-authorization': 'Bearer ada' }],
  ] as const)
    expect([path, (await app.handle(new Request(`http://localhost/api/v1/things${path}`, { headers }))).status]).toEqual([path, 401])
})

test('whoever may not call learns nothing of what a route takes, and nothing of what is sent is run', async () => {
  const { ask, ran } = guarded()
  for (const body of ['{"name":"ada"}', '{"name":', '{"name":"longer than five"}', '{"a":1,"a":1}'])
    for (const [authorization, status] of [
      [undefined, 401],
      ['Bearer forged', 401],
      ['Bearer root', 403],
    ] as const) {
      // Whom somebody knows may learn that it is not JSON.
      const expected = status === 403 && (body === '{"name":' || body === '{"a":1,"a":1}') ? 400 : status
      expect([body, authorization, (await ask('', authorization, { method: 'POST', body })).status]).toEqual([
        body,
        authorization,
        expected,
      ])
    }
  expect(ran).toEqual([])
  expect((await ask('', 'Bearer ada', { method: 'POST', body: '{"name":"ada"}' })).status).toBe(200)
  expect(ran).toEqual(['post'])
  expect((await ask(`/${'x'.repeat(20)}`, 'Bearer root')).code).toBe('PermissionDenied.NotForYou')
})

test('a body is not read for whom nobody knows', async () => {
  const { app } = guarded()
  let isRead = false
  const body = new ReadableStream(
    {
      pull(stream) {
        isRead = true
        stream.enqueue(new TextEncoder().encode('{"name":"ada"}'))
        stream.close()
      },
    },
    { highWaterMark: 0 },
  )
  const response = await app.handle(
    new Request('http://localhost/api/v1/things', { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
  )
  expect([response.status, isRead]).toEqual([401, false])
})

test('a path that is written otherwise leads to the same rules', async () => {
  const { app } = guarded()
  const server = guarded().app.listen({ hostname: '127.0.0.1', port: 0 })
  try {
    for (const path of [
      '/api/v1/things/mine/',
      '/api/v1/things/%6Dine',
      '/api/v1//things/mine',
      '/api/v1/things/./mine',
      '/api/v1/x/../things/mine',
      '/API/v1/things/mine',
      '/api/v1/things/mine%2F',
      '/api/v1/things/mine;x',
    ]) {
      const [inTest, overConnection] = await Promise.all([
        app.handle(new Request(`http://localhost${path}`)),
        fetch(`http://127.0.0.1:${server.server?.port}${path}`),
      ])
      for (const { status } of [inTest, overConnection]) expect([path, [401, 404].includes(status)]).toEqual([path, true])
    }
  } finally {
    await server.stop()
  }
})

test('a denial is one line of the log with who was denied what, and nothing of the credential', async () => {
  const { ask, log } = guarded()
  await ask('/ada', 'Bearer bob')
  await ask('/mine', 'Bearer forged-secret')
  await ask('', undefined, { method: 'POST', body: '{}' })
  await ask('/none/asked', 'Bearer bob')
  await ask('/mine', 'Bearer ada')
  expect(
    log.lines.map(({ level, message, fields: { actor, code, route, status } }) => [level, message, actor, code, route, status]),
  ).toEqual([
    ['warn', 'access denied', 'user:bob', 'PermissionDenied.NotYours', '/api/v1/things/:id', 403],
    ['warn', 'access denied', undefined, 'Unauthenticated.Token', '/api/v1/things/mine', 401],
    ['warn', 'access denied', undefined, 'Unauthenticated.Credentials', '/api/v1/things', 401],
    ['warn', 'access denied', 'user:bob', 'NotFound.NotFound', '/api/v1/things/:id/asked', 404],
    ['info', 'request', 'user:ada', undefined, '/api/v1/things/mine', 200],
  ])
  expect(JSON.stringify(log.lines)).not.toContain('forged-secret')
})

test('when nobody can tell whose a credential is, the answer is 503, also where everyone may call, and no route runs', async () => {
  const away: Recognizer = {
    remembered: () => undefined,
    recognize: () => Promise.reject(new AppError('Unavailable', 'Away', 'Later.', { retryAfterSeconds: 1 })),
  }
  const { ask, app, ran, log } = guarded(away)
  expect(await ask('/mine', 'Bearer ada')).toMatchObject({ status: 503, code: 'Unavailable.Away' })
  expect(await ask('/open', 'Bearer ada')).toMatchObject({ status: 503 })
  expect((await ask('', 'Bearer ada', { method: 'POST', body: '{"name":"ada"}' })).status).toBe(503)
  expect(ran).toEqual([])
  expect((await ask('/open')).status).toBe(200)
  for (const path of ['/livez', '/livez?verbose'])
    expect((await app.handle(new Request(`http://localhost${path}`, { headers: { authorization: 'Bearer ada' } }))).status).toBe(200)
  expect(log.lines.filter(({ message }) => message === 'access denied')).toEqual([])
  const broken: Recognizer = { remembered: () => undefined, recognize: () => Promise.reject(undefined) }
  expect((await guarded(broken).ask('/mine', 'Bearer ada')).status).toBe(500)
})

test('a controller that is served without looking who calls answers nobody', async () => {
  const bare = controller({ prefix: '/bare', tags: ['Bare'] }).get('', () => ({ name: 'x' }), {
    response: { 200: Thing },
    access: [user()],
    detail: { operationId: 'bare', summary: 'Bare' },
  })
  expect((await bare.handle(new Request('http://localhost/bare', { headers: { authorization: 'Bearer ada' } }))).status).toBe(500)
})
