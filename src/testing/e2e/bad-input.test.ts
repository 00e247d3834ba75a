import { afterAll, beforeAll, expect, test } from 'bun:test'
import { openBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { injections } from '../injections'
import { type Client, newServiceKey } from '../clients'
import { newSignUp, type Problem, send, sendRaw } from '../http-client'

let bingo: RunningBingo
let users: string
let service: Client
let dispose: () => Promise<void>
beforeAll(async () => {
  const backing = await openBacking('sqlite')
  if (!backing) throw new Error('SQLite is always there')
  dispose = backing.dispose
  bingo = await startBingo(backing.options)
  users = `${bingo.url}/api/v1/users`
  service = await newServiceKey(backing)
})
afterAll(async () => {
  await bingo.stop()
  await dispose()
})

/** Sends a body as it is, with its length or in chunks, over a connection of its own. */
async function post(body: string | Uint8Array, { type = 'application/json', chunked = false } = {}) {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const framing = chunked ? 'transfer-encoding: chunked' : `content-length: ${bytes.length}`
  const head = `POST /api/v1/users HTTP/1.1\r\nhost: localhost\r\n${type ? `content-type: ${type}\r\n` : ''}${framing}\r\n\r\n`
  const framed = chunked ? Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n0\r\n\r\n')]) : bytes
  const answer = await sendRaw(users, Buffer.concat([Buffer.from(head), framed]))
  const [, status = ''] = answer.split(' ')
  const text = answer.slice(answer.indexOf('\r\n\r\n') + 4)
  return { status: Number(status), type: /^content-type: (.+)$/im.exec(answer)?.[1]?.trim(), problem: parsed(text) }
}
function parsed(text: string): Partial<Problem> {
  try {
    return JSON.parse(text) as Problem
  } catch {
    return {}
  }
}

const person = JSON.stringify(newSignUp())
const megabytes = (n: number) => `{"username":"${'a'.repeat(n * 1024 * 1024)}"}`
/** What a careless or hostile client sends: a name, the body, the status and the code it gets. */
const bodies: [string, string | Uint8Array, { type?: string; chunked?: boolean }, number, string][] = [
  ['malformed JSON', '{"username":', {}, 400, 'InvalidArgument.Json'],
  ['JSON and more', `${person} x`, {}, 400, 'InvalidArgument.Json'],
  ['single quotes', "{'username':'a'}", {}, 400, 'InvalidArgument.Json'],
  ['nothing', '', {}, 400, 'InvalidArgument.Json'],
  ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22]), {}, 400, 'InvalidArgument.Encoding'],
  ['a text', '"text"', {}, 422, 'Unprocessable.Fields'],
  ['null', 'null', {}, 422, 'Unprocessable.Fields'],
  ['a list', '[]', {}, 422, 'Unprocessable.Fields'],
  ['wrong types', '{"username":1,"email":true,"password":[],"nickname":{}}', {}, 422, 'Unprocessable.Fields'],
  ['missing fields', '{}', {}, 422, 'Unprocessable.Fields'],
  ['unknown fields', `${person.slice(0, -1)},"isAdmin":true}`, {}, 422, 'Unprocessable.Fields'],
  ['__proto__', `${person.slice(0, -1)},"__proto__":{"isAdmin":true}}`, {}, 422, 'Unprocessable.Fields'],
  ['constructor', `${person.slice(0, -1)},"constructor":{"prototype":{}}}`, {}, 422, 'Unprocessable.Fields'],
  ['names of functions', '{"username":{"toString":1,"valueOf":1}}', {}, 422, 'Unprocessable.Fields'],
  ['duplicate keys', `${person.slice(0, -1)},"username":"eve"}`, {}, 400, 'InvalidArgument.DuplicateKey'],
  ['duplicate keys in disguise', `${person.slice(0, -1)},"\\u0075sername":"eve"}`, {}, 400, 'InvalidArgument.DuplicateKey'],
  ['duplicate keys inside', '{"nickname":{"a":1,"a":2}}', {}, 400, 'InvalidArgument.DuplicateKey'],
  ['NUL', person.replace('correct', 'cor\\u0000rect'), {}, 400, 'InvalidArgument.Text'],
  ['an unpaired surrogate', person.replace('correct', 'cor\\ud800rect'), {}, 400, 'InvalidArgument.Text'],
  ['an unpaired surrogate in a name', '{"\\udc00":1}', {}, 400, 'InvalidArgument.Text'],
  ['a name of 5,000 characters', `{"username":"${'a'.repeat(5000)}"}`, {}, 422, 'Unprocessable.Fields'],
  ['a key of 5,000 characters', `{"${'a'.repeat(5000)}":1}`, {}, 422, 'Unprocessable.Fields'],
  ['a password of 129 characters', person.replace('correct', 'x'.repeat(129)), {}, 422, 'Unprocessable.Fields'],
  ['deep nesting', '['.repeat(33) + ']'.repeat(33), {}, 400, 'InvalidArgument.Depth'],
  ['very deep nesting', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, {}, 400, 'InvalidArgument'],
  ['numbers without end', `{"username":1e999,"version":${'9'.repeat(1000)}}`, {}, 422, 'Unprocessable.Fields'],
  ['10 MB with a length', megabytes(10), {}, 413, 'TooLarge.Body'],
  ['10 MB in chunks', megabytes(10), { chunked: true }, 413, 'TooLarge.Body'],
  ['a little too much', `{"username":"${'a'.repeat(1024 * 1024)}"}`, { chunked: true }, 413, 'TooLarge.Body'],
  ['a form', 'username=a', { type: 'application/x-www-form-urlencoded' }, 415, 'UnsupportedMediaType.MediaType'],
  ['plain text', person, { type: 'text/plain' }, 415, 'UnsupportedMediaType.MediaType'],
  ['multipart', person, { type: 'multipart/form-data; boundary=x' }, 415, 'UnsupportedMediaType.MediaType'],
  ['no media type', person, { type: '' }, 415, 'UnsupportedMediaType.MediaType'],
  ['no media type, in chunks', person, { type: '', chunked: true }, 415, 'UnsupportedMediaType.MediaType'],
  ['a media type that only looks like JSON', person, { type: 'application/jsonp' }, 415, 'UnsupportedMediaType.MediaType'],
  ['XML', '<a/>', { type: 'application/xml' }, 415, 'UnsupportedMediaType.MediaType'],
]

for (const [name, body, how, status, code] of bodies) {
  test(`a body of ${name} is answered ${status}`, async () => {
    const answer = await post(body, how)
    expect([answer.status, answer.type]).toEqual([status, 'application/problem+json'])
    expect(answer.problem.code).toStartWith(code)
    expect(answer.problem['requestId']).toBeString()
  })
}

test('a body in chunks, with a charset or a capital in its media type, is as good as any', async () => {
  expect((await post(JSON.stringify(newSignUp()), { chunked: true })).status).toBe(201)
  expect((await post(JSON.stringify(newSignUp()), { type: 'Application/JSON; charset=utf-8' })).status).toBe(201)
  expect((await post(JSON.stringify(newSignUp({ nickname: 'a":"\\"b\\\\' })))).status).toBe(201)
})

test('a method that a path does not take is answered 405 with those it does', async () => {
  const tried: [string, string, string][] = [
    ['PUT', users, 'GET, HEAD, POST'],
    ['DELETE', users, 'GET, HEAD, POST'],
    ['OPTIONS', users, 'GET, HEAD, POST'],
    ['POST', `${users}/x`, 'DELETE, GET, HEAD, PATCH'],
    ['PURGE', `${users}/x`, 'DELETE, GET, HEAD, PATCH'],
  ]
  for (const [method, url, allow] of tried) {
    const { status, headers, body } = await send<Problem>(method, url)
    expect([method, status, headers.get('allow'), body.code]).toEqual([method, 405, allow, 'MethodNotAllowed.Method'])
  }
  expect(await sendRaw(bingo.url, 'TRACE /api/v1/users HTTP/1.1\r\nhost: localhost\r\n\r\n')).toMatch(/^HTTP\/1.1 405 /)
})

test('a path of nobody is answered 404, whatever the method', async () => {
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/api/v1/nothing'],
    ['POST', '/api/v1/userss'],
    ['GET', '/api/v1/users/a/b'],
    ['GET', '/admin/v1/users'],
    ['GET', '/%00'],
    ['GET', '/swagger/../../etc/passwd'],
  ] as const) {
    const { status, body } = await send<Problem>(method, `${bingo.url}${path}`)
    expect([path, status, body.code]).toEqual([path, 404, 'NotFound.Route'])
  }
})

test('whoever takes no JSON is told that there is nothing else', async () => {
  const { status, body } = await send<Problem>('GET', users, undefined, { accept: 'text/html' })
  expect([status, body.code]).toEqual([406, 'NotAcceptable.Accept'])
  expect((await service.send('GET', users, undefined, { accept: 'text/html, */*;q=0.1' })).status).toBe(200)
  expect((await service.send('GET', users, undefined, { accept: 'application/*' })).status).toBe(200)
})

test('answers carry security headers, an id, and nothing of who made them', async () => {
  for (const [method, path] of [
    ['GET', '/api/v1/users'],
    ['GET', '/api/v1/users/x'],
    ['PUT', '/api/v1/users'],
    ['GET', '/nothing'],
  ] as const) {
    const { headers } = await send(method, `${bingo.url}${path}`)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('x-request-id')).toMatch(/^[\w-]{8,}$/)
    expect([headers.get('server'), headers.get('x-powered-by')]).toEqual([null, null])
  }
})

test('browsers are told to stay on HTTPS when they came by it, and not over plain HTTP, where it would not count', async () => {
  const policy = async (headers: Record<string, string>) =>
    (await send('GET', users, undefined, headers)).headers.get('strict-transport-security')
  expect(await policy({ 'x-forwarded-proto': 'https' })).toBe('max-age=63072000; includeSubDomains')
  expect(await policy({ 'x-forwarded-proto': 'http' })).toBeNull()
  expect(await policy({})).toBeNull()
})

test('the caller’s request id is kept when it is fit for a log, and replaced when not', async () => {
  const given = async (id: string) => (await send('GET', users, undefined, { 'x-request-id': id })).headers.get('x-request-id')
  expect(await given('gateway-42')).toBe('gateway-42')
  expect(await given('"},{"level":"error')).not.toContain('level')
  expect(await given('x'.repeat(65))).not.toContain('xx')
})

test('two lengths, or a length and chunks, are refused: two readers would see two requests', async () => {
  const smuggled = (headers: string) =>
    sendRaw(bingo.url, `POST /api/v1/users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n${headers}\r\n\r\n{}`)
  expect(await smuggled('content-length: 2\r\ncontent-length: 3')).toMatch(/^HTTP\/1.1 4\d\d /)
  expect(await smuggled('content-length: 2\r\ntransfer-encoding: chunked')).toMatch(/^HTTP\/1.1 4\d\d /)
})

test('what breaks queries elsewhere is refused in every parameter of a list, and as an id is one that does not exist', async () => {
  const known = ((await service.send('GET', users)).body['items'] as unknown[]).length
  for (const text of injections) {
    const encoded = encodeURIComponent(text)
    for (const query of [
      `orderBy=x${encoded}`,
      `orderBy=createdAt%20${encoded}x`,
      `pageToken=${encoded}`,
      `status=${encoded}`,
      `pageSize=${encoded}x`,
    ])
      expect([query, (await service.send('GET', `${users}?${query}`)).status]).toEqual([query, 400])
    expect([text, (await service.send('GET', `${users}/${encoded}`)).status]).toEqual([text, 404])
  }
  expect(((await service.send('GET', users)).body['items'] as unknown[]).length).toBe(known)
})

test('none of all that was an error of ours, and no secret reached the log', async () => {
  const metrics = await (await fetch(`${bingo.ops}/metrics`)).text()
  expect(metrics).not.toMatch(/status="5\d\d"/)
  expect(bingo.log.filter(line => line.level === 'error')).toEqual([])
  expect(JSON.stringify(bingo.log)).not.toContain('correct horse')
})
