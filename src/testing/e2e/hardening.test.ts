import { afterAll, beforeAll, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { openBacking, testOn } from '../backings'
import { send, sendRaw } from '../http-client'

interface Document {
  paths: Record<string, Record<string, { requestBody?: unknown }>>
}

const folder = temporaryFolder()
let bingo: RunningBingo
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api,admin', env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
})
afterAll(async () => {
  expect(await bingo.stop()).toBe(0)
  // Nothing of all that was an error of ours.
  expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
  folder[Symbol.dispose]()
})

const get = async (url: string, init: RequestInit = {}) => {
  const response = await fetch(url, init)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

test('TRACE, CONNECT and methods that are none never reach a route, and nothing of them is sent back', async () => {
  for (const method of ['TRACE', 'CONNECT', 'PROPFIND', 'PURGE']) {
    const answer = await sendRaw(bingo.url, `${method} /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\nx-canary: hunter2\r\n\r\n`)
    expect([method, answer.split('\r\n')[0]]).toEqual([method, 'HTTP/1.1 405 Method Not Allowed'])
    expect(answer).toMatch(/\r\nallow: [A-Z, ]+\r\n/i)
    expect(answer).not.toContain('hunter2')
  }
  // What Bun does not know as a method, it does not answer.
  for (const method of ['FOO', 'get', 'X'.repeat(5000)])
    expect(await sendRaw(bingo.url, `${method} /livez HTTP/1.1\r\nhost: localhost\r\n\r\n`)).not.toContain('200')
  // No proxy.
  for (const target of ['example.com:443', 'http://169.254.169.254/latest/meta-data/'])
    expect(await sendRaw(bingo.url, `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`)).not.toMatch(/^HTTP\/1\.1 2/)
  expect((await get(`${bingo.url}/livez`)).status).toBe(200)
})

test('headers that are too long or too many are refused by the server, and it goes on', async () => {
  const asked = (headers: string) => sendRaw(bingo.url, `GET /livez HTTP/1.1\r\nhost: localhost\r\n${headers}\r\n`)
  const many = (count: number) => Array.from({ length: count }, (_, i) => `x-h${i}: y\r\n`).join('')
  expect(await asked(many(100))).toStartWith('HTTP/1.1 200')
  for (const tooMuch of [many(300), many(5000), `x-long: ${'y'.repeat(20_000)}\r\n`, `cookie: ${'a=b;'.repeat(20_000)}\r\n`])
    expect(await asked(tooMuch)).toStartWith('HTTP/1.1 431 ')
  expect(await sendRaw(bingo.url, `GET /${'y'.repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`)).toStartWith('HTTP/1.1 431 ')
  expect((await get(`${bingo.url}/livez`)).status).toBe(200)
})

test('every answer says what browsers must not do with it, and none says what made it', async () => {
  const admin = bingo.urls['admin'] as string
  const json = { 'content-type': 'application/json' }
  const answers = await Promise.all([
    get(`${bingo.url}/livez`),
    get(`${bingo.url}/readyz`),
    get(`${bingo.url}/api/v1/users`),
    get(`${bingo.url}/api/v1/nowhere`),
    get(`${bingo.url}/api/v1/users`, { method: 'DELETE' }),
    get(`${bingo.url}/api/v1/users`, { method: 'POST', body: '{', headers: json }),
    get(`${bingo.url}/api/v1/users`, { method: 'POST', body: 'x'.repeat(2_000_000), headers: json }),
    get(`${bingo.url}/api/v1/users`, { headers: { authorization: 'Bearer forged' } }),
    get(`${bingo.url}/swagger`),
    get(`${bingo.url}/swagger/json`),
    get(`${bingo.url}/.well-known/jwks.json`),
    get(`${admin}/admin/v1/nowhere`),
    get(`${admin}/swagger`),
  ])
  for (const { headers, status } of answers) {
    expect([status, headers.get('x-content-type-options'), headers.get('referrer-policy')]).toEqual([status, 'nosniff', 'no-referrer'])
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    expect(headers.get('content-security-policy')).not.toMatch(/script-src[^;]*'unsafe/)
    expect(headers.get('cache-control')).not.toBeNull()
    // What is text says in which letters; JSON is UTF-8 always.
    expect(headers.get('content-type') ?? '').toMatch(/^$|json|charset=utf-8/i)
    const telling = [...headers].filter(
      ([name, value]) => /^(server|x-powered-by|via|x-runtime)$/.test(name) || /bun|elysia|bingo\//i.test(value),
    )
    expect(telling.filter(([name]) => name !== 'www-authenticate')).toEqual([])
  }
})

test('what is for those who run it is on the port of the ops server alone, which listens on this host', async () => {
  for (const path of ['/metrics', '/version', '/debug/pprof', '/admin/v1/users', '/.env', '/config']) {
    expect([path, (await get(`${bingo.url}${path}`)).status]).toEqual([path, 404])
    expect([path, (await get(`${bingo.urls['admin']}/api/v1${path}`)).status]).toEqual([path, 404])
  }
  expect(bingo.ops).toStartWith('http://127.0.0.1:')
  expect((await get(`${bingo.ops}/metrics`)).status).toBe(200)
  expect(bingo.urls['admin']).toStartWith('http://127.0.0.1:')
  // Nobody reads the documents of the admin server but administrators.
  expect((await get(`${bingo.urls['admin']}/swagger/json`)).status).toBe(401)
  for (const path of ['/api/v1/users', '/swagger', '/debug/pprof', '/config']) expect((await get(`${bingo.ops}${path}`)).status).toBe(404)
})

test('limits hold in the executable, and what is refused is counted', async () => {
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/limits.db`, BINGO_LIMIT_ANONYMOUS_PER_MINUTE: '20' }
  const one = await startBingo({ env })
  try {
    const answers = await Promise.all(Array.from({ length: 50 }, () => send('GET', `${one.url}/api/v1/nowhere`)))
    expect(answers.filter(({ status }) => status === 404)).toHaveLength(20)
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused).toHaveLength(30)
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeWithin(50, 67)
    const metrics = await get(`${one.ops}/metrics`)
    expect(metrics.text).toContain('bingo_rate_limit_refusals_total{limit="anonymous"} 30')
  } finally {
    await one.stop()
  }
})

test('every route that takes a password, a code or a token counts as one that tries credentials', async () => {
  const env = {
    BINGO_DATABASE_URL: `sqlite:${folder.path}/classes.db`,
    BINGO_LIMIT_ANONYMOUS_PER_MINUTE: '1000',
    BINGO_LIMIT_CREDENTIALS_PER_MINUTE: '1000',
  }
  const one = await startBingo({ roles: 'api,admin', env })
  try {
    const found: string[] = []
    for (const role of ['api', 'admin']) {
      const { paths } = JSON.parse((await runBingo(['openapi', `--role=${role}`], { env })).stdout) as Document
      for (const [path, item] of Object.entries(paths)) {
        for (const [method, { requestBody }] of Object.entries(item)) {
          const { headers } = await get(`${one.urls[role]}${path.replace(/\{\w+\}/g, 'x')}`, { method: method.toUpperCase() })
          const takesSecrets = /"(\w*[pP]assword|code|refreshToken)":/.test(JSON.stringify(requestBody ?? {}))
          const policy = headers.get('ratelimit-policy') ?? ''
          if (takesSecrets) expect([method, path, policy]).toEqual([method, path, expect.stringContaining('"credentials"')])
          if (policy.includes('"credentials"')) found.push(`${method} ${path}`)
        }
      }
    }
    expect(found).toContain('post /api/v1/sessions')
    expect(found).toContain('post /admin/v1/sessions')
    expect(found).not.toContain('get /api/v1/sessions')
  } finally {
    await one.stop()
  }
})

testOn(['mysql', 'redis'], 'processes that share Redis let through no more together than the limit', async () => {
  const backing = await openBacking('mysql')
  if (!backing) throw new Error('no MySQL')
  const options = { ...backing.options, env: { ...backing.options.env, BINGO_LIMIT_ANONYMOUS_PER_MINUTE: '200' } }
  const first = await startBingo(options)
  const processes = [first, await startBingo(options)]
  try {
    const asked = processes.flatMap(({ url }) => Array.from({ length: 300 }, () => send('GET', `${url}/api/v1/nowhere`)))
    const through = (await Promise.all(asked)).filter(({ status }) => status === 404)
    expect(through).toHaveLength(200)
  } finally {
    await Promise.all(processes.map(each => each.stop()))
    await backing.dispose()
  }
})

test('secrets are in no list of processes and in nothing that shows the configuration', async () => {
  const canary = 'kP7xQv2mZr9TbW4nLc6YhGd3JfSa8EuX'
  const files = { key: `${folder.path}/key`, mail: `${folder.path}/mail` }
  writeFileSync(files.key, `${Buffer.from(canary).toString('base64')}\n`)
  writeFileSync(files.mail, `smtp://user:${canary}@127.0.0.1:1`)
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/s.db`, BINGO_AUTH_KEY_FILE: files.key, BINGO_MAIL_URL_FILE: files.mail }
  const running = await startBingo({ env })
  const hidden = [canary, Buffer.from(canary).toString('base64')]
  const seen = [
    await Bun.file(`/proc/${running.pid}/cmdline`).text(),
    await Bun.file(`/proc/${running.pid}/environ`).text(),
    (await get(`${running.ops}/metrics`)).text,
    (await get(`${running.ops}/version`)).text,
    (await runBingo(['config', 'show'], { env })).stdout,
    (await runBingo(['config', 'show', '--json'], { env })).stdout,
    (await runBingo(['config', 'check'], { env })).stderr,
  ]
  await running.stop()
  seen.push(JSON.stringify(running.log), running.stderr())
  for (const secret of hidden) expect(seen.filter(text => text.includes(secret))).toEqual([])
  // The check looks where they would be.
  expect(seen[4]).toContain('smtp://user:••••@127.0.0.1:1')
})
