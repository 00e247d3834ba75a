import type { ApiDocument, JsonSchema, Operation } from './document'
import type { Random } from './random'
import { hostileValue, rawNumbers, texts, validValue } from './values'

/** A request that nobody should be harmed by. */
export interface HostileRequest {
  method: string
  /** With its query. */
  path: string
  headers: Record<string, string>
  body: string | Uint8Array<ArrayBuffer> | undefined
  /** The one it was made from, when its method and path are as documented. */
  operation: Operation | undefined
}

export interface Generator {
  document: ApiDocument
  /** `Authorization` of those who call, undefined for nobody. */
  credentials: readonly (string | undefined)[]
  /** Ids of things that there are. */
  ids: readonly string[]
  /** Of those that a path is about, where that is known. */
  idsOf?: (template: string) => readonly string[]
}

/** Those that `fetch` sends; the others are sent by hand. */
const otherMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']
const mediaTypes = [
  'application/json; charset=utf-8',
  'application/merge-patch+json',
  'Application/JSON',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/xml',
  'application/json, text/plain',
  'application/json; charset=utf-16',
  'json',
]

/** One request of a document. Most keep to it but for one thing, since what is wrong in many is refused for the first. */
export function generate(random: Random, { document, credentials, ids, idsOf = () => [] }: Generator): HostileRequest {
  const template = random.of(Object.keys(document.paths))
  const item = document.paths[template] ?? {}
  const documented = random.of(Object.keys(item))
  const isOther = random.chance(0.06)
  const method = isOther ? random.of(otherMethods) : documented.toUpperCase()
  const operation = Object.hasOwn(item, method.toLowerCase()) ? item[method.toLowerCase()] : undefined
  const own = idsOf(template)
  const anId = () => random.of(own.length > 0 && random.chance(0.8) ? own : ids)
  const filled = template.replaceAll(/\{[^}]+\}/g, () => (random.chance(0.6) ? anId() : encoded(random, random.of(texts))))
  // An empty name leads to another path, as do tricks.
  const isTricked = random.chance(0.05) || filled.includes('//') || filled.endsWith('/') || /\/(\.|%2e){1,2}(\/|$)/i.test(filled)
  const path = isTricked && random.chance(0.7) ? tricked(random, filled) : filled
  const headers: Record<string, string> = {}
  const credential = random.chance(0.85) ? random.of(credentials) : random.of(badCredentials(credentials))
  if (credential !== undefined) headers['authorization'] = credential
  const takesBody = method !== 'GET' && method !== 'HEAD'
  const schema = operation?.requestBody?.content['application/json']?.schema
  const body = takesBody && (schema || random.chance(0.1)) ? bodyOf(random, schema ?? {}) : undefined
  if (body !== undefined) headers['content-type'] = random.chance(0.93) ? 'application/json' : random.of(mediaTypes)
  if (random.chance(0.25)) Object.assign(headers, oddHeader(random))
  return {
    ...{ method, headers, body, path: `${path}${queryOf(random, operation)}` },
    operation: isTricked ? undefined : operation,
  }
}

const badCredentials = (credentials: readonly (string | undefined)[]): string[] => {
  const some = credentials.find(each => each !== undefined) ?? 'Bearer x'
  const [head = ''] = some.split('.')
  const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
  return [
    'Bearer',
    'Bearer  ',
    'Basic YWRhOmFkYQ==',
    'bearer x.y.z',
    `Bearer ${'a'.repeat(4000)}`,
    `${some}x`,
    some.slice(0, -2),
    `${some}, ${some}`,
    `Bearer ${none}.e30.`,
    `${head}.e30.AAAA`,
    `Bearer bk_${'0'.repeat(44)}`,
    `Bearer br_${'A'.repeat(80)}`,
    'Digest username="x"',
    `Bearer ${encodeURIComponent('\u0000')}`,
  ]
}

function encoded(random: Random, text: string): string {
  const kind = random.below(10)
  if (kind === 0) return random.of(['%', '%zz', '%E0%A4%A', '%ff', '%00', '%c0%ae', '..%2f', '%2e%2e', ';a=b', '%2F'])
  return encodeURIComponent(text)
}

function tricked(random: Random, path: string): string {
  const tricks = [
    `/${path}`,
    `${path}/`,
    `${path}//`,
    path.replace('/v1/', '/v1//'),
    path.replace('/v1/', '/v1/./'),
    path.replace('/v1/', '/v1/%2e%2e/v1/'),
    path.replace('/v1/', '/V1/'),
    path.replace('/v1/', '%2fv1%2f'),
    `${path};jsessionid=1`,
    `${path}%20`,
    `${path}%00`,
    `${path}.json`,
    `${path}/..`,
    `/x/..${path}`,
    path.toUpperCase(),
    path.slice(0, -1),
  ]
  return random.of(tricks)
}

function queryOf(random: Random, operation: Operation | undefined): string {
  const known = (operation?.parameters ?? []).filter(each => each.in === 'query')
  if (known.length === 0 ? !random.chance(0.08) : random.chance(0.3)) return ''
  const pairs = known
    .filter(() => random.chance(0.5))
    .map(({ name, schema }) => {
      const value = random.chance(0.5) ? validValue(random, schema ?? {}) : hostileValue(random)
      return `${name}=${encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value))}`
    })
  if (random.chance(0.15)) {
    const odd = [
      '__proto__[x]=1',
      'constructor=1',
      'a[]=1',
      'x=%',
      '%=1',
      '=',
      '&&',
      'pageSize=1&pageSize=2',
      '%00=1',
      'x=%ff',
      'access_token=x',
      'a'.repeat(2000),
    ]
    pairs.push(random.of(odd))
  }
  return pairs.length > 0 ? `?${pairs.join('&')}` : ''
}

function oddHeader(random: Random): Record<string, string> {
  const headers: Record<string, string>[] = [
    { accept: random.of(['text/html', '*/*', 'application/*', 'application/json;q=0', '', 'x', 'application/json, text/html;q=0.1']) },
    { 'idempotency-key': random.of(['one', 'two', '"one"', '', 'a b', 'x'.repeat(300), '"', 'a,b', crypto.randomUUID()]) },
    {
      'if-match': random.of([
        '*',
        '"1"',
        'W/"1"',
        '1',
        '"'.repeat(20),
        '"1",'.repeat(20),
        '""',
        '"99999999999999999999"',
        'x'.repeat(1025),
      ]),
    },
    { 'x-forwarded-for': random.of(['127.0.0.1', '::1', 'x', '1.2.3.4, 5.6.7.8', ','.repeat(100), '"><script>']) },
    { 'x-forwarded-proto': 'https' },
    { 'x-request-id': random.of(['a', 'x'.repeat(200), '"},{"level":"error"', '\u001b[31m']) },
    { traceparent: random.of(['00-0-0-0', 'x', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01']) },
    { 'x-http-method-override': 'DELETE' },
    { cookie: `session=${'x'.repeat(random.of([1, 1000]))}` },
    { origin: random.of(['https://evil.example', 'null', 'x']) },
    { range: 'bytes=0-1,5-' },
    { 'content-encoding': random.of(['gzip', 'br', 'deflate', 'x']) },
    { 'content-language': 'tlh' },
    { te: 'trailers' },
    { forwarded: 'for=127.0.0.1;host=evil' },
    { 'x-original-url': '/admin/v1/users', 'x-rewrite-url': '/admin' },
    Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`x-${i}`, 'y'])),
  ]
  return random.of(headers)
}

function bodyOf(random: Random, schema: JsonSchema): string | Uint8Array<ArrayBuffer> {
  const valid = validValue(random, schema)
  const kind = random.below(20)
  if (kind < 4) return JSON.stringify(valid)
  if (kind < 12 && typeof valid === 'object' && valid !== null) {
    const names = Object.keys(schema.properties ?? {})
    const name = names.length > 0 ? random.of(names) : 'x'
    return JSON.stringify({ ...valid, [name]: hostileValue(random) })
  }
  const text = JSON.stringify(valid) ?? 'null'
  const opened = text.endsWith('}') && text.length > 2 ? text.slice(0, -1) : '{"a":1'
  const [name = 'a'] = Object.keys(schema.properties ?? {})
  if (kind === 12) return JSON.stringify(hostileValue(random))
  if (kind === 13) return `${opened},${JSON.stringify(random.of(texts))}:${JSON.stringify(hostileValue(random))}}`
  if (kind === 14) return `${opened},"${name}":1,"${name}":2}`
  if (kind === 15) return `${opened},"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}`
  if (kind === 16) return `${opened},"${name}":${random.of(rawNumbers)}}`
  if (kind === 17)
    return random.of([
      '',
      ' ',
      '{',
      '}',
      '[',
      '"',
      'nul',
      '{"a":}',
      '{"a":1,}',
      "{'a':1}",
      '/**/{}',
      'NaN',
      '{"a":01}',
      '\uFEFF{}',
      '{}{}',
      `${text}x`,
    ])
  if (kind === 18)
    return random.of([
      Uint8Array.of(0xff, 0xfe, 0x7b, 0),
      Uint8Array.of(0x22, 0xc0, 0xae, 0x22),
      Uint8Array.of(0x1f, 0x8b, 8, 0),
      new Uint8Array(100),
    ])
  return random.of([
    `${opened},"${name}":"\\u0000"}`,
    `${opened},"${name}":"\\ud800"}`,
    `${'['.repeat(5000)}`,
    `{"${name}":"${'a'.repeat(100_000)}"}`,
    `${'[1,'.repeat(2000)}1${']'.repeat(2000)}`,
  ])
}
