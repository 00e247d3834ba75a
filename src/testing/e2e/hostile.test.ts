import { afterAll, beforeAll, expect, test } from 'bun:test'
import { openBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type Client, clientWith, newAdministrator, newServiceKey, newUser } from '../clients'
import { bombard } from '../hostile/bombard'
import type { ApiDocument } from '../hostile/document'
import { randomOf } from '../hostile/random'
import { sendRaw } from '../http-client'

/** The same seed makes the same requests: `BINGO_TEST_SEED=12345 bun test src/testing/e2e/hostile.test.ts`. */
const seed = Number(process.env['BINGO_TEST_SEED'] ?? 20_261_123)
const requestsOf = { api: 6000, admin: 4000 }
/** Share of the operations that succeed now and then. Most of those of the admin server need more than these callers have; root has a test of its own. */
const leastReached = { api: 0.6, admin: 0.2 }
/** Callers log themselves out, and remove themselves. */
const renewedEvery = 250

let bingo: RunningBingo
let dispose: () => Promise<void>
let env: Record<string, string>
let backingUrl: string
beforeAll(async () => {
  const backing = await openBacking('sqlite')
  if (!backing) throw new Error('SQLite is always there')
  dispose = backing.dispose
  backingUrl = backing.url
  // Limits would answer most of them.
  const unlimited = Object.fromEntries(['READ', 'WRITE', 'CREDENTIALS', 'ANONYMOUS'].map(each => [`BINGO_LIMIT_${each}_PER_MINUTE`, '0']))
  env = { ...backing.options.env, ...unlimited, BINGO_HTTP_TRUSTED_PROXIES: '127.0.0.1/32', BINGO_LOG_LEVEL: 'warn' }
  bingo = await startBingo({ ...backing.options, env, roles: 'api,admin', args: ['--log.level=info'] })
}, 60_000)
afterAll(async () => {
  await bingo.stop()
  await dispose()
})

let count = 0
/** Wrong tries slow down whoever is at the same address, so honest callers come from others. */
const from = () => ({ 'x-forwarded-for': `10.1.${++count >> 8}.${count & 255}` })

interface Cast {
  callers: (Client | undefined)[]
  ids: string[]
}

/** Nobody, a user, a key of that user, a service, and two administrators: each server is called by those of the other, too. */
async function newCast(): Promise<Cast> {
  const origin = bingo.urls['api'] ?? ''
  const admin = bingo.urls['admin'] ?? ''
  const [user, other, service, operator, reader] = [
    await newUser(origin, {}, from()),
    await newUser(origin, {}, from()),
    await newServiceKey({ url: backingUrl }),
    await newAdministrator(admin, env, undefined, from()),
    await newAdministrator(admin, env, ['schedules:read'], from()),
  ]
  const key = await user.send<{ key: string; id: string }>('POST', `${origin}/api/v1/me/api-keys`, {
    name: 'mine',
    scopes: ['users:read'],
    currentPassword: user.password,
  })
  const schedule = await operator.send('POST', `${admin}/admin/v1/schedules`, {
    ...{ name: `hostile-${crypto.randomUUID()}`, cron: '0 0 1 1 *', task: 'user.export', payload: { format: 'csv' } },
  })
  const made = await operator.send('POST', `${admin}/admin/v1/user-exports`, { format: 'csv' })
  const ids = [user.user.id, other.user.id, key.body.id, schedule.body['id'], schedule.body['name'], made.body['id'], 'current']
  return { callers: [undefined, user, clientWith(key.body.key), service, operator, reader], ids: ids.filter(id => typeof id === 'string') }
}

for (const face of ['api', 'admin'] as const)
  test(`no request of ${requestsOf[face].toLocaleString('en-US')} hostile ones to the ${face} server is answered otherwise than its document says`, async () => {
    const origin = bingo.urls[face] ?? ''
    let cast = await newCast()
    const operator = cast.callers[4] as Client
    const { body: document } = await operator.send<ApiDocument & Record<string, unknown>>('GET', `${origin}/swagger/json`)
    const random = randomOf(seed + (face === 'api' ? 0 : 1))
    const { faults, statuses, reached } = await bombard(origin, {
      ...{ random, document, count: requestsOf[face] },
      async targets(begun) {
        if (begun > 0 && begun % renewedEvery < 16) cast = await newCast()
        return { credentials: cast.callers.map(caller => caller?.headers.authorization), ids: cast.ids }
      },
    })
    expect({ seed, count: faults.length, faults: faults.slice(0, 10) }).toEqual({ seed, count: 0, faults: [] })
    // That they come as far as they may: most operations succeed now and then, and each kind of refusal is met.
    expect(reached).toBeGreaterThan(leastReached[face])
    for (const status of [200, 400, 401, 403, 404, 405, 406, 415, 422])
      expect([status, (statuses[status] ?? 0) > 0]).toEqual([status, true])
  }, 240_000)

test('requests that no client library sends are answered or cut off, and never by an error of ours', async () => {
  const authorization = (await newUser(bingo.urls['api'] ?? '', {}, from())).headers.authorization
  const head = `host: localhost\r\nauthorization: ${authorization}\r\ncontent-type: application/json\r\n`
  const lines = [
    'GET /api/v1/me HTTP/1.1',
    'POST /api/v1/users HTTP/1.1',
    'PATCH /api/v1/users/x HTTP/1.1',
    'TRACE / HTTP/1.1',
    'BREW / HTTP/1.1',
    'get / HTTP/1.1',
    'CONNECT x:1 HTTP/1.1',
  ]
  const odd: [string, string][] = [
    ...lines.flatMap((line): [string, string][] => [
      [line, 'content-length: 2\r\ncontent-length: 3\r\n\r\n{}'],
      [line, 'content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}'],
      [line, 'transfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n'],
      [line, 'transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n'],
      [line, 'content-length: -1\r\n\r\n'],
      [line, 'content-length: 99999999999999999999\r\n\r\n'],
      [line, `x: ${'y'.repeat(20_000)}\r\n\r\n`],
      [line, `${'x: y\r\n'.repeat(2000)}\r\n`],
      [line, 'x : y\r\n\r\n'],
      [line, 'x\r\n y\r\n\r\n'],
      [line, 'authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n'],
      [line, 'idempotency-key: a\r\nidempotency-key: b\r\ncontent-length: 2\r\n\r\n{}'],
      [line, 'expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}'],
      [line, 'x: \u0000\r\n\r\n'],
    ]),
    ['GET http://evil.example/api/v1/me HTTP/1.1', '\r\n'],
    ['GET //evil.example/api/v1/me HTTP/1.1', '\r\n'],
    ['GET /api/v1/../../etc/passwd HTTP/1.1', '\r\n'],
    ['GET * HTTP/1.1', '\r\n'],
    ['GET /api/v1/me HTTP/9.9', '\r\n'],
    ['GET /api/v1/me', '\r\n'],
    ['\u0000\u0001\u0002', '\r\n'],
    [`GET /${'a'.repeat(20_000)} HTTP/1.1`, '\r\n'],
    ['PRI * HTTP/2.0', '\r\nSM\r\n\r\n'],
  ]
  for (const [line, rest] of odd) {
    const answer = await sendRaw(bingo.url, `${line}\r\n${head}${rest}`, { timeoutMs: 1500 })
    expect([line.slice(0, 80), rest.slice(0, 60), answer]).toEqual([
      line.slice(0, 80),
      rest.slice(0, 60),
      expect.not.stringMatching(/^HTTP\/1\.\d 5(?!05)/),
    ])
  }
}, 120_000)

test('after all that it is well, nothing was an error of ours, and none of the passwords and tokens is in the log', async () => {
  expect((await fetch(`${bingo.ops}/readyz`)).status).toBe(200)
  expect(await (await fetch(`${bingo.ops}/metrics`)).text()).not.toMatch(/status="500"/)
  expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
  expect(JSON.stringify(bingo.log)).not.toMatch(/correct horse|Bearer |eyJ[\w-]+\.eyJ|b[kr]_\w{30}/)
})
