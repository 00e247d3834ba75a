import { expect, test } from 'bun:test'
import { Elysia } from 'elysia'
import { everyone, user } from '@/core/access'
import { controller } from '@/core/controller'
import type { Maintenance } from '@/core/live-settings'
import { Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { httpApp } from './app'
import { createHealth } from './health'

const Thing = Type.Object({ name: Type.String() }, { additionalProperties: false })

/** An app that notes whom it was asked to recognize, to count, to answer again, and what came to a route. */
function closable(maintenance: Maintenance) {
  const asked: string[] = []
  const note = (what: string) => void asked.push(what)
  const readiness = new Readiness()
  readiness.state = 'ready'
  const log = fakeLog()
  const things = controller({ prefix: '/things', tags: ['Things'] })
    .get('', () => ({ name: 'x' }), {
      response: { 200: Thing },
      access: [everyone()],
      detail: { operationId: 'get', summary: 'get' },
    })
    .post(
      '',
      ({ body }) => {
        note('route')
        return body
      },
      { body: Thing, parse: 'json', response: { 200: Thing }, access: [user()], detail: { operationId: 'post', summary: 'post' } },
    )
  const liveSettings = { maintenance, signUp: 'open' as const, logLevel: 'info' as const }
  const app = httpApp(
    'api',
    '/api/v1',
    [things],
    {
      ...{ log, metrics: fakeMetrics(), readiness, health: createHealth(readiness, [], log), bodyLimitBytes: 1024, hasCallers: true },
      ...{ timeoutMs: 1000, corsOrigins: ['https://app.example'], liveSettings: { now: () => liveSettings } },
      recognizer: {
        remembered: () => void note('remembered'),
        recognize: async () => void note('recognized'),
      },
      limits: { take: () => note('counted'), admit: () => note('admitted'), takeInvalid: () => note('counted') },
      keys: answer => async (request, key, server) => {
        note(`key ${key}`)
        return answer(request, server)
      },
    },
    [new Elysia().get('/swagger', () => 'a page').get('/.well-known/jwks.json', () => 'keys')],
  )
  const send = async (method: string, path: string, headers: Record<string, string> = {}, body?: string) => {
    const response = await app.handle(new Request(`http://localhost${path}`, { method, headers, ...(body && { body }) }))
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, problem: text.startsWith('{') ? JSON.parse(text) : undefined }
  }
  const change = (next: Maintenance) => {
    liveSettings.maintenance = next
  }
  return { send, asked, log, change }
}

const json = { 'content-type': 'application/json' }

test('while it is closed every path of the API is answered 503 with when to try again, and nothing is asked for it', async () => {
  const { send, asked, log } = closable({ isOn: true, message: 'Moving until 14:00.', retryAfterSeconds: 90 })
  const strange = { authorization: 'Bearer abc', 'idempotency-key': 'once', ...json }
  for (const [method, path, headers, body] of [
    ['GET', '/api/v1/things', {}],
    ['HEAD', '/api/v1/things', {}],
    ['POST', '/api/v1/things', strange, '{"name":"x"}'],
    ['GET', '/api/v1/things?a=1', {}],
    ['DELETE', '/api/v1/nothing', strange],
    ['GET', '/', {}],
    ['GET', '/%61pi/v1/things', {}],
    ['GET', '//api/v1/things', {}],
    ['GET', '/swagger/../api/v1/things', {}],
    ['GET', '/api/v1/things/', { accept: 'text/html' }],
  ] as const) {
    const { status, headers: own, problem } = await send(method, path, headers, body)
    expect([method, path, status, own.get('retry-after')]).toEqual([method, path, 503, '90'])
    expect(own.get('x-request-id')).toMatch(/^[\w-]+$/)
    if (method === 'HEAD') continue
    expect(own.get('content-type')).toBe('application/problem+json')
    expect(problem).toMatchObject({ status: 503, code: 'Unavailable.Maintenance', detail: 'Moving until 14:00.' })
  }
  expect(asked).toEqual([])
  // It is no fault of ours that somebody has to look at.
  expect(log.lines.map(({ level }) => level).filter(level => level !== 'info')).toEqual([])
})

test('health, documents and public keys are there all the same', async () => {
  const { send } = closable({ isOn: true })
  for (const path of ['/livez', '/readyz', '/readyz?verbose', '/swagger', '/.well-known/jwks.json'])
    expect([path, (await send('GET', path)).status]).toEqual([path, 200])
  expect((await send('GET', '/api/v1/things')).headers.get('retry-after')).toBe('300')
})

test('pages of other origins may read that it is closed', async () => {
  const { send } = closable({ isOn: true })
  const preflight = await send('OPTIONS', '/api/v1/things', { origin: 'https://app.example', 'access-control-request-method': 'POST' })
  expect(preflight.status).toBe(204)
  const { status, headers } = await send('GET', '/api/v1/things', { origin: 'https://app.example' })
  expect([status, headers.get('access-control-allow-origin')]).toEqual([503, 'https://app.example'])
})

test('it opens and closes from one request to the next', async () => {
  const { send, asked, change } = closable({ isOn: false, message: 'Moving.' })
  expect((await send('GET', '/api/v1/things')).status).toBe(200)
  change({ isOn: true })
  expect((await send('GET', '/api/v1/things')).status).toBe(503)
  change({ isOn: false })
  expect((await send('GET', '/api/v1/things')).status).toBe(200)
  const refused = await send('POST', '/api/v1/things', { authorization: 'Bearer abc', 'idempotency-key': 'once', ...json }, '{"name":"x"}')
  expect(refused.status).toBe(401)
  // All that was passed by above.
  expect(asked).toEqual(expect.arrayContaining(['counted', 'remembered', 'admitted', 'recognized', 'key once']))
})
