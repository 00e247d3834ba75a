import { afterEach, expect, test } from 'bun:test'
import type { AnyElysia } from 'elysia'
import { everyone } from '@/core/access'
import { controller } from '@/core/controller'
import type { Identity } from '@/core/identity'
import { Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { countingMetrics, fakeLog, fakeMetrics } from '@/testing/fakes'
import { noLimits } from '@/testing/rate-limits'
import { openRateLimits } from '../limit/open'
import { httpApp, type HttpTools } from './app'
import { openApiDocument } from './docs'
import { createHealth } from './health'

const servers: AnyElysia[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop(true)
})

/** An app with a route that answers when it is let go, and what becomes of it. */
async function served(tools: Partial<HttpTools> = {}) {
  const log = fakeLog()
  const readiness = new Readiness()
  const letGo = Promise.withResolvers<void>()
  const done: string[] = []
  const declared = (operationId: string) => ({
    access: [everyone()],
    response: { 200: Type.Object({ name: Type.String() }) },
    detail: { operationId, summary: operationId },
  })
  const things = controller({ prefix: '/things', tags: ['Thing'] })
    .get('', () => ({ name: 'x' }), declared('listThings'))
    .post('', ({ body }) => body, { ...declared('makeThing'), body: Type.Object({ name: Type.String() }), parse: 'json' })
    .post('/log-in', () => ({ name: 'x' }), { ...declared('logIn'), limit: 'credentials' as const })
    .get(
      '/slow',
      async () => {
        await letGo.promise
        done.push('slow')
        return { name: 'x' }
      },
      declared('slow'),
    )
  const health = createHealth(readiness, [], log)
  const app = httpApp('api', '/api/v1', [things], { log, metrics: fakeMetrics(), readiness, health, bodyLimitBytes: 1024, ...tools })
  app.listen({ hostname: '127.0.0.1', port: 0 })
  servers.push(app)
  const origin = `http://127.0.0.1:${app.server?.port}`
  const ask = async (method: string, path: string, headers: Record<string, string> = {}, body?: string) => {
    const response = await fetch(`${origin}${path}`, { method, headers, ...(body !== undefined && { body }) })
    const text = await response.text()
    return { status: response.status, headers: response.headers, json: text.startsWith('{') ? JSON.parse(text) : text }
  }
  return { ask, log, letGo, done, things, origin, app }
}

const limitsOf = (limit: Partial<typeof noLimits>, metrics = countingMetrics()) =>
  openRateLimits(
    { limit: { ...noLimits, ...limit }, redis: { cluster: false, sentinelName: 'x', prefix: 'bingo' } },
    { redis: undefined, log: fakeLog(), metrics },
  )

test('one request too many is answered 429 with when to come again, before its body is read, and probes never', async () => {
  const { ask, log } = await served({ limits: await limitsOf({ anonymousPerMinute: 2 }) })
  const first = await ask('GET', '/api/v1/things')
  expect([first.status, first.headers.get('ratelimit-policy')]).toEqual([200, '"anonymous";q=2;w=60'])
  expect(first.headers.get('ratelimit')).toMatch(/^"anonymous";r=1;t=\d+$/)
  // What is refused, or is nowhere, counts as well.
  const second = await ask('GET', '/api/v1/nowhere')
  expect([second.status, second.headers.get('ratelimit')]).toEqual([404, expect.stringMatching(/r=0/)])
  const third = await ask('POST', '/api/v1/things', { 'content-type': 'application/json' }, '{"name"')
  expect([third.status, third.headers.get('content-type')]).toEqual([429, 'application/problem+json'])
  expect(third.json).toMatchObject({ status: 429, code: 'ResourceExhausted.RateLimit', title: 'Too Many Requests' })
  expect(Number(third.headers.get('retry-after'))).toBeWithin(60, 67)
  expect(third.headers.get('ratelimit')).toBe(`"anonymous";r=0;t=${third.headers.get('retry-after')}`)
  expect(log.lines.at(-1)).toMatchObject({ level: 'info', fields: { status: 429, code: 'ResourceExhausted.RateLimit' } })
  for (let i = 0; i < 5; i++) expect((await ask('GET', '/livez')).status).toBe(200)
})

test('who lies about its address is counted all the same', async () => {
  const { ask, log } = await served({ limits: await limitsOf({ anonymousPerMinute: 2 }), trustedProxies: ['10.0.0.0/8'] })
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push((await ask('GET', '/api/v1/things', { 'x-forwarded-for': `203.0.113.${i}` })).status)
  expect(statuses).toEqual([200, 200, 429, 429])
  // It may be a proxy that was forgotten: that is said, once.
  expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([{ fields: { address: '127.0.0.1' } }])
})

test('behind a proxy that is trusted each has its own count', async () => {
  const { ask } = await served({ limits: await limitsOf({ anonymousPerMinute: 1 }), trustedProxies: ['127.0.0.0/8'] })
  const from = async (address: string) => (await ask('GET', '/api/v1/things', { 'x-forwarded-for': `9.9.9.9, ${address}` })).status
  expect([await from('203.0.113.1'), await from('203.0.113.2'), await from('203.0.113.1')]).toEqual([200, 200, 429])
})

test('routes that try credentials have a limit of their own', async () => {
  const { ask } = await served({ limits: await limitsOf({ anonymousPerMinute: 100, credentialsPerMinute: 1 }) })
  const logIn = () => ask('POST', '/api/v1/things/log-in')
  expect((await logIn()).headers.get('ratelimit-policy')).toBe('"credentials";q=1;w=60')
  expect((await logIn()).status).toBe(429)
  expect((await ask('GET', '/api/v1/things')).status).toBe(200)
})

test('a flood of credentials that nobody has is stopped before anybody is asked whose they are', async () => {
  let asked = 0
  const known: Identity = { kind: 'user', id: '1', sessionId: 's' }
  const recognizer = {
    remembered: (credential: string) => (credential === 'known' ? known : undefined),
    recognize: async () => {
      asked++
      return undefined
    },
  }
  const { ask } = await served({ recognizer, limits: await limitsOf({ anonymousPerMinute: 3, readPerMinute: 5 }) })
  const statuses = []
  for (let i = 0; i < 6; i++) statuses.push((await ask('GET', '/api/v1/things', { authorization: `Bearer guess${i}` })).status)
  expect([statuses, asked]).toEqual([[200, 200, 200, 429, 429, 429], 3])
  // Who is known has a count of its own, wherever it calls from.
  const mine = await ask('GET', '/api/v1/things', { authorization: 'Bearer known' })
  expect([mine.status, mine.headers.get('ratelimit-policy')]).toEqual([200, '"read";q=5;w=60'])
})

test('a flood of requests without credentials does not shut out users of the same address, also those whom this process does not remember', async () => {
  const users: Record<string, Identity> = { valid: { kind: 'user', id: '1', sessionId: 's' } }
  const recognizer = { remembered: () => undefined, recognize: async (credential: string) => users[credential] }
  const { ask } = await served({ recognizer, limits: await limitsOf({ anonymousPerMinute: 3, readPerMinute: 5 }) })
  const things = async (credential?: string) =>
    ask('GET', '/api/v1/things', credential === undefined ? {} : { authorization: `Bearer ${credential}` })
  // Nor do they count as strangers themselves.
  expect([(await things('valid')).status, (await things('valid')).status]).toEqual([200, 200])
  const flood = []
  for (let i = 0; i < 5; i++) flood.push((await things()).status)
  expect(flood).toEqual([200, 200, 200, 429, 429])
  const mine = await things('valid')
  expect([mine.status, mine.headers.get('ratelimit-policy')]).toEqual([200, '"read";q=5;w=60'])
  // What nobody has is counted by itself, and as the stranger's request that it is.
  const guessed = await things('guess')
  expect([guessed.status, guessed.headers.get('ratelimit-policy')]).toEqual([429, '"invalid";q=3;w=60, "anonymous";q=3;w=60'])
  expect((await things('valid')).status).toBe(200)
  for (let i = 0; i < 2; i++) await things(`guess ${i}`.replace(' ', '-'))
  expect((await things('valid')).headers.get('ratelimit')).toMatch(/^"invalid";r=0/)
})

test('the documents say of every route that it may be refused, and what the headers mean', async () => {
  const { things } = await served()
  const { paths } = await openApiDocument({ title: 'x', version: '1', description: '' }, '/api/v1', [things])
  const operations = Object.values(paths).flatMap(item => Object.values(item))
  expect(operations.length).toBeGreaterThan(3)
  for (const { responses, ...operation } of operations) {
    expect(responses['429']?.headers).toContainKeys(['Retry-After', 'RateLimit', 'RateLimit-Policy'])
    expect(responses['200']?.headers).toContainKeys(['RateLimit', 'RateLimit-Policy'])
    expect(responses['504']).toBeDefined()
    expect(operation).not.toContainKey('x-limit')
  }
})

test('a request that takes too long is answered 504, and its work goes on', async () => {
  const { ask, log, letGo, done } = await served({ timeoutMs: 100 })
  const [slow, quick] = await Promise.all([ask('GET', '/api/v1/things/slow'), ask('GET', '/api/v1/things')])
  expect(quick.status).toBe(200)
  expect([slow.status, slow.headers.get('content-type'), slow.json.code]).toEqual([504, 'application/problem+json', 'Timeout.Request'])
  expect([slow.json.instance, slow.json.requestId]).toEqual(['/api/v1/things/slow', slow.headers.get('x-request-id')])
  expect(slow.headers.get('cache-control')).toBe('no-store')
  expect(log.lines.filter(({ fields }) => fields['status'] === 504)).toMatchObject([{ fields: { route: '/api/v1/things/slow' } }])
  expect(done).toEqual([])
  letGo.resolve()
  await Bun.sleep(0)
  expect(done).toEqual(['slow'])
  // Its late answer is neither sent nor said.
  expect(log.lines.filter(({ fields }) => fields['route'] === '/api/v1/things/slow')).toHaveLength(1)
})

test('a client that does not finish its body is answered in time, too', async () => {
  const { origin } = await served({ timeoutMs: 300 })
  const { hostname, port } = new URL(origin)
  const answered = Promise.withResolvers<string>()
  const socket = await Bun.connect({ hostname, port: Number(port), socket: { data: (_, bytes) => answered.resolve(bytes.toString()) } })
  socket.write('POST /api/v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"name"')
  const dripping = setInterval(() => socket.write(' '), 50)
  expect(await answered.promise).toStartWith('HTTP/1.1 504 ')
  clearInterval(dripping)
  socket.end()
})

test('a body that is refused before it has come does not hold the server up when it stops', async () => {
  for (const [status, headers, tools] of [
    [413, { 'content-type': 'application/json' }, {}],
    [415, { 'content-type': 'text/plain' }, {}],
    [429, { 'content-type': 'application/json' }, { limits: await limitsOf({ anonymousPerMinute: 1 }), bodyLimitBytes: 10_000_000 }],
  ] as const) {
    const { ask, app } = await served(tools)
    await ask('GET', '/api/v1/things')
    const refused = await ask('POST', '/api/v1/things', headers, 'x'.repeat(2_000_000))
    expect([refused.status, refused.headers.get('connection')]).toEqual([status, 'close'])
    const stopped = app.server?.stop().then(() => 'stopped')
    expect(await Promise.race([stopped, Bun.sleep(3000)])).toBe('stopped')
  }
  // Who sends little is not sent away.
  const { ask } = await served()
  expect((await ask('POST', '/api/v1/things', {}, 'x')).headers.get('connection')).toBeNull()
})

test('pages of listed origins may use it, and others are not told that they may', async () => {
  const { ask } = await served({ corsOrigins: ['https://app.example.com'] })
  const listed = await ask('GET', '/api/v1/things', { origin: 'https://app.example.com' })
  expect(listed.headers.get('access-control-allow-origin')).toBe('https://app.example.com')
  expect(listed.headers.get('access-control-expose-headers')).toContain('ratelimit')
  const strangers = [
    'https://evil.example.com',
    'https://app.example.com.evil.com',
    'https://xapp.example.com',
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://APP.example.com',
    'null',
    '',
  ]
  for (const origin of strangers) {
    const { status, headers } = await ask('GET', '/api/v1/things', { origin })
    expect([origin, status, headers.get('access-control-allow-origin')]).toEqual([origin, 200, null])
  }
  const answers = [listed, await ask('GET', '/api/v1/things'), await ask('GET', '/api/v1/nowhere', { origin: 'https://app.example.com' })]
  for (const { headers } of answers) {
    expect(headers.get('vary')).toBe('Origin')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  }
  // An error is read by the page as well.
  expect(answers[2]?.headers.get('access-control-allow-origin')).toBe('https://app.example.com')
})

test('browsers that ask first are told what they may do, by the list', async () => {
  const { ask, log } = await served({ corsOrigins: ['https://app.example.com'], limits: await limitsOf({ anonymousPerMinute: 1 }) })
  const preflight = (path: string, origin: string) =>
    ask('OPTIONS', path, { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,x-evil' })
  for (let i = 0; i < 3; i++) {
    const { status, headers } = await preflight('/api/v1/things', 'https://app.example.com')
    expect([status, headers.get('access-control-allow-origin')]).toEqual([204, 'https://app.example.com'])
    expect(headers.get('access-control-allow-methods')).toBe('GET, HEAD, POST')
    expect(headers.get('access-control-allow-headers')).not.toContain('x-evil')
    expect(headers.get('access-control-allow-headers')).toContain('authorization')
    expect(headers.get('vary')).toContain('Origin')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  }
  expect(log.lines).toEqual([])
  const stranger = await preflight('/api/v1/things', 'https://evil.example.com')
  expect([stranger.status, stranger.headers.get('access-control-allow-origin')]).toEqual([405, null])
})

test('without a list no origin is mentioned', async () => {
  const { ask } = await served()
  const { headers } = await ask('GET', '/api/v1/things', { origin: 'https://app.example.com' })
  expect([...headers.keys()].filter(name => name.startsWith('access-control') || name === 'vary')).toEqual([])
})
