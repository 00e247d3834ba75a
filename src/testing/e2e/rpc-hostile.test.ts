import { afterAll, beforeAll, expect, test } from 'bun:test'
import { assembleCast, type Cast, type Person } from '../access-cast'
import { temporaryFolder } from '../bingo'
import { type Random, randomOf } from '../hostile/random'
import { texts } from '../hostile/values'
import { hostileBytes } from '../hostile/wire'
import { framed, rawHttp2, type RawHttp2Answer, type RawHttp2Call } from '../rpc/raw-http2'
import { detailsKey } from '@/infra/rpc/status'
import { type RawAnswer, rawClient } from '../rpc/raw-client'
import { bytesOf, declaredMethods, rpcFixtures } from '../rpc/fixtures'
import { type ServiceTokens, serviceTokensOf } from '../service-tokens'

/** The same seed makes the same requests: `BINGO_TEST_SEED=12345 bun test src/testing/e2e/rpc-hostile.test.ts`. */
const seed = Number(process.env['BINGO_TEST_SEED'] ?? 20_261_124)
const requestsMax = 2000
const atATime = 16
/** Longer than any answer takes, and as long as a stream without an end is listened to. */
const timeoutMs = 2000

const methods = await declaredMethods()

let cast: Cast
let services: ServiceTokens
let people: Person[]
const folder = temporaryFolder()
beforeAll(async () => {
  cast = await assembleCast(folder.path, [])
  services = await serviceTokensOf(cast.database)
  people = [await cast.newPerson(), await cast.newPerson()]
}, 120_000)
afterAll(async () => {
  await services.close()
  await cast.close()
  folder[Symbol.dispose]()
})

/** What a server of ours may say: INTERNAL and UNKNOWN are faults of ours, whatever was sent. */
const codes = { ok: 0, invalid: 3, deadline: 4, notFound: 5, denied: 7, exhausted: 8, unauthenticated: 16 }
/** What nobody may learn of who answers. */
const telling = /\bat [\w.<>]+ \(|\.ts:\d+|node_modules|\/\$bunfs|sqlite|select .+ from |ER_[A-Z]+_|protobuf|RangeError|stack/i

function faultOf({ code, details, trailers, tookMs }: RawAnswer): string | undefined {
  if (!Object.values(codes).includes(code)) return `code ${code}`
  if (code !== codes.ok && code !== codes.deadline && trailers.get(detailsKey).length === 0) return 'an error without its details'
  if (telling.test(details)) return 'it tells of its inside'
  return tookMs > timeoutMs + 3000 ? `${Math.round(tookMs)} ms` : undefined
}

function metadataOf(random: Random, credentials: readonly (string | undefined)[]): Record<string, string | Buffer> {
  const credential = random.of(credentials)
  const metadata: Record<string, string | Buffer> = {}
  if (credential !== undefined) metadata['authorization'] = random.chance(0.9) ? `Bearer ${credential}` : credential
  if (random.chance(0.1)) metadata['authorization'] = random.of(['', 'Bearer', 'Basic YTpi', `Bearer ${'a'.repeat(5000)}`, 'Bearer a b'])
  const printable = texts.filter(text => /^[\x20-\x7e]*$/.test(text) && text.length < 2000)
  if (random.chance(0.2)) metadata['x-request-id'] = random.of(printable)
  if (random.chance(0.2))
    metadata['traceparent'] = random.of([
      ...printable,
      `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`,
      `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-00`,
    ])
  if (random.chance(0.2)) metadata['x-forwarded-for'] = random.of(printable)
  if (random.chance(0.1)) metadata['grpc-status-details-bin'] = Buffer.from([0xff, 0, 1])
  if (random.chance(0.05)) for (let i = 0; i < 50; i++) metadata[`x-more-${i}`] = 'y'
  return metadata
}

test(`no call of ${requestsMax.toLocaleString('en-US')} hostile ones is a fault of ours, and none hangs`, async () => {
  const random = randomOf(seed)
  const rpc = rawClient(cast.rpc)
  const [ada, bob] = people as [Person, Person]
  const known = [services.full, services.full, cast.serviceKeys.full, cast.serviceKeys.full, ada.token, ada.keys.full]
  const credentials = [undefined, ...known, services.none, cast.root, 'garbage', ...Object.values(services.invalid)]
  const targets = { ids: [ada.id, bob.id, ada.username, crypto.randomUUID(), ada.sessionId] }
  const faults: string[] = []
  const seen: Record<number, number> = {}
  const reached = new Set<string>()
  for (let i = 0; i < requestsMax; i += atATime) {
    const calls = Array.from({ length: atATime }, () => {
      const method = random.of(methods)
      return { method, bytes: hostileBytes(random, method.desc.input, targets), metadata: metadataOf(random, credentials) }
    })
    const answers = await Promise.all(
      // One message is enough of those that go on without end.
      calls.map(({ method, bytes, metadata }) => rpc.raw(`/${method.name}`, bytes, { metadata, deadlineMs: timeoutMs, atMost: 1 })),
    )
    for (const [at, answer] of answers.entries()) {
      const { method, bytes, metadata } = calls[at] as (typeof calls)[number]
      seen[answer.code] = (seen[answer.code] ?? 0) + 1
      if (answer.code === codes.ok) reached.add(method.name)
      const fault = faultOf(answer)
      if (fault !== undefined)
        faults.push(
          `${i + at}: ${fault}: ${method.name} ${Buffer.from(bytes.slice(0, 60)).toString('hex')} (${bytes.length} B) ${JSON.stringify(metadata).slice(0, 200)} → ${answer.code} ${answer.details.slice(0, 200)}`,
        )
    }
  }
  rpc.close()
  expect({ seed, count: faults.length, faults: faults.slice(0, 10) }).toEqual({ seed, count: 0, faults: [] })
  // That they come as far as they may, and meet each kind of refusal.
  expect([...reached].toSorted()).toEqual(methods.map(({ name }) => name).toSorted())
  for (const code of [codes.ok, codes.invalid, codes.notFound, codes.denied, codes.unauthenticated])
    expect([code, (seen[code] ?? 0) > 0]).toEqual([code, true])
}, 240_000)

test('what is larger than the server takes, and a method or service that there is not, are refused with a code that says so', async () => {
  const rpc = rawClient(cast.rpc)
  const metadata = { authorization: `Bearer ${services.full}` }
  for (const { name } of methods) {
    const { code } = await rpc.raw(`/${name}`, new Uint8Array(8 * 1024 * 1024), { metadata, deadlineMs: 20_000 })
    expect([name, code]).toEqual([name, codes.exhausted])
  }
  for (const path of [
    '/bingo.user.v1.UserService/DropUsers',
    '/nobody.v1.Service/Get',
    '/',
    '/__proto__/constructor',
    '/bingo.user.v1.UserService/',
  ])
    expect([path, (await rpc.raw(path, new Uint8Array(), { metadata })).code]).toEqual([path, 12])
  rpc.close()
}, 60_000)

test('calls that no client library makes are answered or cut off, and none hangs', async () => {
  const [ada] = people as [Person]
  const authorization = `Bearer ${services.full}`
  // Those that are cut off when their time is over are waited for at the same time.
  await Promise.all(
    methods.map(async ({ name, desc }) => {
      const path = `/${name}`
      const message = bytesOf(desc, rpcFixtures[name]?.(ada).input ?? {})
      const whole = framed(message)
      const odd: RawHttp2Call[] = [
        ...['-', 'text/html', 'application/json', 'application/grpc-web', 'application/grpc+json', 'a'.repeat(5000)].map(type => ({
          ...{ path, body: whole, headers: { authorization, 'content-type': type } },
        })),
        ...['0n', '-1S', 'abc', '99999999999H', '', '1', '1u1u', '0.5S'].map(timeout => ({
          ...{ path, body: whole, headers: { authorization, 'grpc-timeout': timeout } },
        })),
        ...['gzip', 'deflate', 'snappy', '__proto__'].map(encoding => ({
          ...{ path, body: framed(message, { flag: 1 }), headers: { authorization, 'grpc-timeout': '1S', 'grpc-encoding': encoding } },
        })),
        ...['GET', 'PUT', 'TRACE', 'BREW'].map(method => ({ path, headers: { ':method': method, authorization } })),
        ...['!!!', '=', 'a', 'ÿ'].map(value => ({
          path,
          body: whole,
          headers: { authorization, 'grpc-timeout': '1S', 'x-odd-bin': value },
        })),
        ...[
          new Uint8Array(),
          new Uint8Array(4),
          framed(message, { flag: 255 }),
          framed(message, { flag: 1 }),
          framed(message, { length: message.length + 10 }),
          framed(message, { length: 2 ** 32 - 1 }),
          Buffer.concat([whole, whole]),
          Buffer.concat([whole, Buffer.from([0, 0])]),
        ].map(body => ({ path, body, headers: { authorization, 'grpc-timeout': '1S' } })),
        ...[0, 1, 5].map(resetAfterMs => ({ path, body: whole, headers: { authorization }, resetAfterMs })),
      ]
      // What has no deadline of its own goes on for as long as somebody listens.
      const bounded = odd.map(call => ({ ...call, headers: { 'grpc-timeout': '1S', ...call.headers } }))
      const halves = [bounded.filter((_, at) => at % 2 === 0), bounded.filter((_, at) => at % 2 === 1)]
      const [even = [], odds = []] = await Promise.all(halves.map(half => rawHttp2(cast.rpc, half)))
      const answers = bounded.map((_, at) => (at % 2 === 0 ? even : odds)[at >> 1])
      for (const [i, answer] of answers.entries()) {
        const { isOpen, bytes, message = '' } = answer as RawHttp2Answer
        // It may go on without end where its deadline is none that can be read.
        const isSilent = isOpen && !(bytes > 0 && name.endsWith('/WatchUser'))
        expect([name, bounded[i]?.headers, isSilent]).toEqual([name, bounded[i]?.headers, false])
        expect(message).not.toMatch(telling)
      }
    }),
  )
  // Streams that are begun and reset at once, again and again (CVE-2023-44487).
  const resets = Array.from({ length: 500 }, () => ({ path: `/${methods[0]?.name}`, headers: { authorization }, resetAfterMs: 0 }))
  await Promise.all(Array.from({ length: 4 }, () => rawHttp2(cast.rpc, resets)))
}, 120_000)

test('after all that it is well, nothing was an error of ours, and no credential is in the log', async () => {
  const rpc = rawClient(cast.rpc)
  const [ada] = people as [Person]
  for (const { name, desc } of methods) {
    const { input, ...more } = rpcFixtures[name]?.(ada) ?? { input: {} }
    const answer = await rpc.raw(`/${name}`, bytesOf(desc, input), { ...more, metadata: { authorization: `Bearer ${services.full}` } })
    expect([name, answer.code]).toEqual([name, codes.ok])
  }
  rpc.close()
  expect((await fetch(`${cast.bingo.ops}/readyz`)).status).toBe(200)
  expect(cast.bingo.log.filter(({ level }) => level === 'error')).toEqual([])
  expect(JSON.stringify(cast.bingo.log)).not.toMatch(/Bearer |eyJ[\w-]+\.eyJ|b[kr]_\w{30}/)
})
